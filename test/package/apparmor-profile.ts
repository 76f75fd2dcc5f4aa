/**
 * What an AppArmor profile allows: paths and networks, of the profile itself and of the abstractions that it
 * includes, as apparmor_parser reads them. Owners are not looked at. The grammar: apparmor.d(5).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from './packages-built.ts';

export type Profile = {
  /** The rights of `wanted` (of r, w, m, x, l, k) that no rule gives for the path. */
  lacking(path: string, wanted: string): string;
  allowsNetwork(family: string, type: string): boolean;
};

type PathRule = { readonly pattern: RegExp; readonly rights: string };

const VARIABLE = /^@\{(\w+)\}\s*\+?=\s*(.*)$/gm;
const PATH_RULE = /^\s*(?:owner\s+|audit\s+)*((?:\/|@\{)\S*)\s+([a-zA-Z]+)\s*,/gm;
const NETWORK_RULE = /^\s*network(?:\s+(\w+))?(?:\s+(\w+))?\s*,/gm;

/** `text` as in packaging/apparmor; `folder` is of the test. */
export function parseProfile(text: string, folder: string): Profile {
  const file = join(folder, 'profile');
  writeFileSync(file, text);
  const { status, out, err } = ask('apparmor_parser', ['--preprocess', file]);
  if (status !== 0) throw new Error(err);
  const whole = out.replace(/^\s*#.*$/gm, '');
  const variables = new Map<string, readonly string[]>();
  for (const [, name = '', values = ''] of whole.matchAll(VARIABLE)) {
    const more = values.trim().split(/\s+/);
    variables.set(name, [...(variables.get(name) ?? []), ...more]);
  }
  variables.set('pid', ['[0-9]*']).set('pids', ['[0-9]*']).set('tid', ['[0-9]*']);
  const rules: readonly PathRule[] = [...whole.matchAll(PATH_RULE)].map(
    ([, path = '', rights = '']) => ({ pattern: compiled(path, variables), rights }),
  );
  const networks = [...whole.matchAll(NETWORK_RULE)].map(([, family, type]) => ({ family, type }));
  return {
    lacking(path, wanted) {
      const given = rules
        .filter(({ pattern }) => pattern.test(path))
        .map(({ rights }) => rights)
        .join('');
      return [...wanted].filter((right) => !given.includes(right)).join('');
    },
    allowsNetwork: (family, type) =>
      networks.some((rule) => rule.family === family && [undefined, type].includes(rule.type)),
  };
}

function compiled(path: string, variables: ReadonlyMap<string, readonly string[]>): RegExp {
  return new RegExp(`^${asRegExp(expanded(path, variables))}$`);
}

/** With each variable as an alternative of its values. */
function expanded(path: string, variables: ReadonlyMap<string, readonly string[]>): string {
  return path.replace(/@\{(\w+)\}(\/?)/g, (_, name: string, slash: string) => {
    const values = variables.get(name);
    if (values === undefined) throw new Error(`the profile has no ${name}`);
    const whole = values.map((value) => expanded(value, variables));
    // Values may end in a slash of their own.
    const ends = slash === '' ? whole : whole.map((value) => value.replace(/\/$/, ''));
    return `{${ends.join(',')}}${slash}`;
  });
}

function asRegExp(glob: string): string {
  let depth = 0;
  return glob.replace(
    /\/\*\*$|\/\*$|\*\*|\*|\?|\[[^\]]*\]|\{|\}|,|[.+^$()|\\/]/g,
    (token): string => {
      switch (token) {
        // What stands alone at the end is not empty.
        case '/**':
          return '/.+';
        case '/*':
          return '/[^/]+';
        case '**':
          return '.*';
        case '*':
          return '[^/]*';
        case '?':
          return '[^/]';
        case '{':
          depth += 1;
          return '(?:';
        case '}':
          depth -= 1;
          return ')';
        case ',':
          return depth > 0 ? '|' : ',';
        default:
          return token.startsWith('[') ? token : `\\${token}`;
      }
    },
  );
}
