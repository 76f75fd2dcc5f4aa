/** The files of both packages; what one format alone has is added where that format is made. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { bashCompletion, fishCompletion, zshCompletion } from '../../src/cli/completions.ts';
import { allCommands } from './commands.ts';
import type { Edition } from './edition.ts';
import { manPages } from './manpages.ts';
import type { Entry } from './stage.ts';

/** Where each file of systemd/ goes; what is not there is not installed. */
const UNITS: Readonly<Record<string, string>> = {
  'trousseau.service': '/usr/lib/systemd/system/trousseau.service',
  'trousseau.socket': '/usr/lib/systemd/system/trousseau.socket',
  'trousseau.sysusers': '/usr/lib/sysusers.d/trousseau.conf',
  'trousseau.tmpfiles': '/usr/lib/tmpfiles.d/trousseau.conf',
  '50-trousseau.preset': '/usr/lib/systemd/system-preset/50-trousseau.preset',
  // For systemd 253 and newer: the scripts of the packages link it where systemd reads it.
  '10-notify-main.conf': '/usr/lib/trousseau/10-notify-main.conf',
};

const DOC = '/usr/share/doc/trousseau';

/** They lie on the node as they lie here, so that the links between them hold. */
const DOCUMENTS = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'docs/**/*.{md,json,svg}'];

/** In the order in which a person would list them. */
export async function commonContents(binary: string, edition: Edition): Promise<readonly Entry[]> {
  const commands = await allCommands();
  return [
    { path: '/usr/bin/trousseau', mode: 0o755, content: { from: binary } },
    { path: '/usr/lib/trousseau/restart', mode: 0o755, content: { from: 'systemd/restart' } },
    plain('/etc/needrestart/conf.d/trousseau.conf', { from: 'packaging/needrestart.conf' }),
    ...Object.entries(UNITS)
      .filter(([name]) => existsSync(`systemd/${name}`))
      .map(([name, path]) => plain(path, { from: `systemd/${name}` })),
    ...(await manPages(edition)).map(({ file, text }) =>
      plain(`/usr/share/man/man${file.slice(-1)}/${file}.gz`, { bytes: gzip(text) }),
    ),
    plain('/usr/share/bash-completion/completions/trousseau', { bytes: bashCompletion(commands) }),
    plain('/usr/share/fish/vendor_completions.d/trousseau.fish', {
      bytes: fishCompletion(commands),
    }),
    ...['encryption-configuration.yaml', 'vault-policy.hcl'].map((name) =>
      plain(`${DOC}/examples/${name}`, { from: `packaging/examples/${name}` }),
    ),
    ...globSync(DOCUMENTS)
      .sort()
      .map((name) => plain(`${DOC}/${name}`, { from: name })),
  ];
}

/** zsh looks for what packages bring in a folder that differs between distributions. */
export async function zshEntry(folder: string): Promise<Entry> {
  return plain(`${folder}/_trousseau`, { bytes: zshCompletion(await allCommands()) });
}

export function plain(path: string, content: Entry['content']): Entry {
  return { path, mode: 0o644, content };
}

/** Without name and time, so that the same text gives the same bytes. */
export function gzip(text: string): Buffer {
  return gzipSync(text, { level: 9 });
}

/** A file of packaging/ with @NAMES@ filled in; one that is left over is a mistake. */
export function template(file: string, values: Readonly<Record<string, string>>): string {
  const filled = Object.entries(values).reduce(
    (text, [name, value]) => text.replaceAll(`@${name}@`, value),
    readFileSync(file, 'utf8'),
  );
  const left = /@[A-Z]+@/.exec(filled);
  if (left !== null) throw new Error(`${file}: nothing fills in ${left[0]}`);
  return filled;
}
