/** docs/install-offline.md as tests run it: the blocks of a section, and somebody who types them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './executable.ts';

/** The blocks of shell commands below a heading, which is given with its `##` or `###`. */
export function commandsOf(heading: string): readonly string[] {
  return blocksOf('sh', heading);
}

/** The only block of commands there. */
export function commandOf(heading: string): string {
  return only(commandsOf(heading), heading);
}

/** The only block of YAML there. */
export function yamlOf(heading: string): string {
  return only(blocksOf('yaml', heading), heading);
}

/** The only words there in the type of code that start so. */
export function wordsOf(heading: string, start: string): string {
  const words = [...sectionOf(heading).matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => text);
  return only(
    words.filter((text) => text.startsWith(start)),
    heading,
  );
}

/**
 * The arguments that run commands as somebody types them who stands where step 2 has left them, answers
 * yes to what is asked, and stops at what fails.
 */
export function typed(commands: string): readonly [string, ...string[]] {
  const script = '[ ! -d /srv/trousseau ] || cd /srv/trousseau; yes 2>/dev/null | sh -ec "$0"';
  return ['sh', '-c', script, commands];
}

function blocksOf(language: 'sh' | 'yaml', heading: string): readonly string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm');
  return [...sectionOf(heading).matchAll(fence)].map(([, block = '']) => block);
}

function sectionOf(heading: string): string {
  const text = readFileSync(join(ROOT, 'docs/install-offline.md'), 'utf8');
  const [, rest] = text.split(`\n${heading}\n`);
  if (rest === undefined) throw new Error(`docs/install-offline.md has no ${heading}`);
  const level = heading.indexOf(' ');
  const [section = ''] = rest.split(new RegExp(`^#{2,${level}} `, 'm'));
  return section;
}

function only(found: readonly string[], heading: string): string {
  const [one, another] = found;
  if (one !== undefined && another === undefined) return one;
  throw new Error(`docs/install-offline.md has ${found.length} of them under ${heading}, not one`);
}
