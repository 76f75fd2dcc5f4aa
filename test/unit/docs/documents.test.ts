import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { toJsonSchema } from '@valibot/to-json-schema';
import { loadConfig } from '../../../src/config/load.ts';
import { formatProblems } from '../../../src/config/problem.ts';
import { configSchema } from '../../../src/config/schema.ts';
import {
  COMPUTED_PER_SECOND,
  MAX_CONNECTIONS,
  REQUEST_LIMIT_MS,
} from '../../../src/observe/admin.ts';
import { MAX_HEADER_BYTES } from '../../../src/observe/admin-request.ts';
import { escapeUnprintable } from '../../../src/observe/printable.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { anchorsOf, blocksOf, relativeLinksOf, rowsOf } from './markdown.ts';

const ROOT = join(import.meta.dirname, '../../..');
const API_VERSION = 'apiVersion: trousseau.io/v1';
const HEAD = `${API_VERSION}\nkind: KMSPluginConfiguration\n`;
const FIELD_TABLE = ['field', 'type', 'default', 'meaning and limits'];

const documents = ['*.md', 'docs/**/*.md']
  .flatMap((pattern) => globSync(pattern, { cwd: ROOT }))
  .sort()
  .map((name) => ({ name, text: readFileSync(join(ROOT, name), 'utf8') }));

/** How a block that is a part of a configuration becomes a whole one, by the name in its comment. */
const COMPLETIONS: Readonly<Record<string, (text: string) => string>> = {
  config: (text) =>
    `${HEAD}${text}\nproviders:\n  - name: local\n    local: {keyringFile: /keyring.json}\n`,
  provider: (text) => `${HEAD}providers:\n  - name: one\n${indented(text, 4)}\n`,
  vault: (text) =>
    `${HEAD}providers:\n  - name: vault\n    vault:\n      addresses: [https://vault.example:8200]\n` +
    `      key: kubernetes\n${indented(text, 6)}\n`,
};

function indented(text: string, by: number): string {
  return text
    .split('\n')
    .map((line) => `${' '.repeat(by)}${line}`)
    .join('\n');
}

describe('the documents', () => {
  it('are found', () => {
    const names = documents.map(({ name }) => name);
    for (const name of [
      ...['README.md', 'docs/configuration.md', 'docs/authentication.md', 'docs/recovery.md'],
      ...['docs/kube-apiserver-health.md', 'docs/migration/trousseau-1.md'],
    ])
      assert.ok(names.includes(name), name);
  });

  it('link to files and headings that are there', () => {
    const broken = documents.flatMap(({ name, text }) =>
      relativeLinksOf(text)
        .filter((link) => !resolves(name, link))
        .map((link) => `${name}: ${link}`),
    );
    assert.deepEqual(broken, []);
  });

  it('show configurations that are accepted, whole or completed as their comment says', () => {
    const seen = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ language }) => language === 'yaml')
        .flatMap(({ text: yaml, fragment, line }) => {
          const whole = wholeConfig(yaml, fragment);
          return whole === undefined ? [] : [{ place: `${name}:${line}`, whole, yaml }];
        }),
    );
    assert.ok(seen.length > 10, `${seen.length} configurations`);
    for (const { place, whole } of seen) {
      const result = loadConfig(whole, place, {});
      assert.deepEqual(formatProblems(result.ok ? result.warnings : result.problems), '', whole);
    }
  });

  it('say of each other block of YAML that is no configuration of ours what it is', () => {
    const unknown = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ language }) => language === 'yaml')
        .filter(({ text: yaml, fragment }) => wholeConfig(yaml, fragment) === undefined)
        .filter(({ text: yaml }) => !/^apiVersion: /m.test(yaml))
        .map(({ line }) => `${name}:${line}`),
    );
    assert.deepEqual(unknown, []);
  });

  it('look into etcd so that an etcdctl that reads nothing is told from an etcd with nothing of before', (t) => {
    const looks = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ text: script }) => /^etcdctl get .*--print-value-only/.test(script))
        .map(({ text: script, line }) => ({ place: `${name}:${line}`, script })),
    );
    assert.ok(looks.length >= 6, `${looks.length} blocks look into etcd`);
    const folder = temporaryFolder(t);
    const said = (script: string, etcdctl: string): string => {
      writeFileSync(join(folder, 'etcdctl'), `#!/bin/sh\n${etcdctl}\n`, { mode: 0o755 });
      const PATH = `${folder}:${process.env['PATH']}`;
      return spawnSync('/bin/sh', ['-c', script], { env: { PATH }, encoding: 'utf8' }).stdout;
    };
    for (const { place, script } of looks) {
      const clean = said(script, "printf 'k8s:enc:kms:v2:trousseau:\\n\\377x\\n'");
      assert.match(clean, /^ *1 k8s:enc:kms:v2:trousseau:$/m, place);
      assert.doesNotMatch(said(script, 'exit 1'), /\S/, place);
    }
  });

  it('name each entry of an EncryptionConfiguration once, or kube-apiserver would not start', () => {
    const files = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ text: yaml }) => /^kind: EncryptionConfiguration$/m.test(yaml))
        .map(({ text: yaml, line }) => ({ place: `${name}:${line}`, yaml })),
    );
    assert.ok(files.length > 10, `${files.length} files`);
    for (const { place, yaml } of files) {
      const names = [...yaml.matchAll(/^ +name: (\S+)$/gm)].map(([, one]) => one);
      assert.deepEqual(names, [...new Set(names)], place);
    }
  });

  it('have kube-apiserver ready before they have it write every Secret again', () => {
    const changed = documents.filter(({ text }) => text.includes('--encryption-provider-config'));
    const rewriting = changed.flatMap(({ name, text }) => {
      const [first] = blocksOf(text).filter(({ text: script }) =>
        /^kubectl get secrets .*\| kubectl replace/.test(script),
      );
      return first === undefined ? [] : [{ name, before: text.split('\n').slice(0, first.line) }];
    });
    assert.ok(rewriting.length > 0);
    const hasty = rewriting.filter(
      ({ before }) => !/kubectl (?:--server \S+ )?get --raw[= ]\/readyz/.test(before.join('\n')),
    );
    assert.deepEqual(
      hasty.map(({ name }) => name),
      [],
    );
  });

  it('give no command that a distribution does not know, and none that reaches more files than it names', () => {
    // curl 7.61, systemd 239; and whatever else lies in that folder, such as a key that is root's alone.
    // A root of Debian has no EDITOR, so that the file itself would be run.
    const refused = /--retry-all-errors|\$EDITOR|\b(?:chmod|chown|chgrp)\b.*\/etc\/trousseau\/?\*/;
    const found = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ text: script }) => refused.test(script))
        .map(({ line }) => `${name}:${line}`),
    );
    assert.deepEqual(found, []);
  });

  it('give each file that a command makes for the service to it, in the same block or further down the page', () => {
    const forgotten = documents.flatMap(({ name, text }) => {
      const scripts = blocksOf(text).filter(({ language }) => language === 'sh');
      return scripts.flatMap(({ text: script, line }, i) => {
        const given = filesGiven(scripts.slice(i).map((block) => block.text));
        return filesMade(script)
          .filter((file) => !given.has(file))
          .map((file) => `${name}:${line}: ${file}`);
      });
    });
    assert.deepEqual(forgotten, []);
  });

  it('follow no link that lies in the directory of the plugin, which one that was taken over can lay', () => {
    const refused =
      /\b(?:chown (?!-h )|chmod |chgrp (?!-h )|cp |install (?!-T |-d )).*\/var\/lib\/trousseau\//;
    const found = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ text: script }) => refused.test(script))
        .map(({ line }) => `${name}:${line}`),
    );
    assert.deepEqual(found, []);
  });

  it('write nothing to where another user can have made the file before, and then reads it', () => {
    // Not all systems set fs.protected_regular; a directory of one's own comes first.
    const refused = /(?:>|decrypt .*|-out|cp .*) *\/(?:dev\/shm|tmp|var\/tmp)\/(?!rescue\/)/;
    const found = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(
          ({ text: script }) =>
            refused.test(script) ||
            (/> \/dev\/shm\//.test(script) &&
              !/^mkdir -p -m 0700 (\S+) && \[ -O \1 \] &&/m.test(script)),
        )
        .map(({ line }) => `${name}:${line}`),
    );
    assert.deepEqual(found, []);
  });

  it('destroy nothing that cannot be made again, also where they run twice, or one command of them fails', () => {
    const refused: readonly RegExp[] = [
      // A seal key, a passphrase, and what kube-apiserver may have forgotten by now.
      /^(?!.*set -C).*(?<!set -C\n.*)> \S*(?:seal\.key|passphrase|secrets-NODE\.json)\)?/m,
      // An empty file in the place of the copy before.
      /> kubernetes\.backup\b(?!\.new)/,
      /^install (?!.*&&$).*\n *(?:mv|rm) /m,
    ];
    const found = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ text: script }) => refused.some((pattern) => pattern.test(script)))
        .map(({ line }) => `${name}:${line}`),
    );
    assert.deepEqual(found, []);
  });

  it('leave what an administrator has: the drop-in of the unit, the policy in use, the file with a key', () => {
    const refused: readonly RegExp[] = [
      /systemctl edit --stdin (?!--drop-in=)/,
      // A file that is there may have the key of `aescbc`.
      /(?<!\[ -e \/etc\/kubernetes\/encryption\.yaml \] \|\|\n\s*)install .*\/etc\/kubernetes\/encryption\.yaml/,
    ];
    const found = documents.flatMap(({ name, text }) =>
      blocksOf(text)
        .filter(({ text: script }) => refused.some((pattern) => pattern.test(script)))
        .map(({ line }) => `${name}:${line}`),
    );
    assert.deepEqual(found, []);
    // While its token is refused, the plugin of before stores what nobody can decrypt.
    const written = blocksOf(textOf('docs/migration/trousseau-1.md')).filter(({ text: script }) =>
      script.includes('vault policy write'),
    );
    assert.equal(written.length, 1);
    assert.match(
      written[0]?.text ?? '',
      /^policy=\$\(vault policy read (\w+)\) && vault policy write \1 -/m,
    );
  });

  it('hold no placeholder in the table of dependencies, and a row for each of them', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Readonly<Record<string, string>>;
    };
    const header = [
      ...['package', 'what it does here'],
      ...['bundled size, minified', 'why not less'],
    ];
    const rows = rowsOf(textOf('docs/dependencies.md'), header);
    assert.deepEqual(
      rows.map(([name = '']) => name.split(' ')[0]),
      Object.keys(dependencies),
    );
    for (const [name, , size = ''] of rows) assert.match(size, /^\d+ kB/, name);
  });
});

/** What a script of root's makes that the service has to read; of a credential the service gets a copy by systemd. */
function filesMade(script: string): readonly string[] {
  const made = [
    ...script.matchAll(/(?:>|^cp \S+) (\/etc\/trousseau\/[\w.-]+)/gm),
    ...script.matchAll(/^trousseau keyring init (\/\S+)/gm),
    ...script.matchAll(/^mv (\/var\/lib\/trousseau\/\S+)/gm),
  ];
  return made.map(([, file = '']) => file).filter((file) => !file.endsWith('.cred'));
}

/** What scripts give to the service's group, or, of keyrings, to its user; names alone are below `cd`. */
function filesGiven(scripts: readonly string[]): ReadonlySet<string> {
  return new Set(
    scripts.flatMap((script) => {
      const folder = /^cd (\S+)$/m.exec(script)?.[1] ?? '/';
      const given = [
        ...script.matchAll(/\b(?:chgrp trousseau|chown -h trousseau:) ([^\n;)]+)/g),
        ...script.matchAll(/^install -T .*-o trousseau .* (\/\S+)$/gm),
      ];
      return given.flatMap(([, names = '']) =>
        names.split(' ').map((file) => resolve(folder, file)),
      );
    }),
  );
}

describe('the numbers of docs/configuration.md', () => {
  const text = textOf('docs/configuration.md').replaceAll(/\s+/g, ' ');
  for (const [what, stated, number] of [
    ['connections of the admin endpoint', /of more than ([\d,]+) connections/, MAX_CONNECTIONS],
    ['bytes of its header', /a header of ([\d,]+) bytes/, MAX_HEADER_BYTES],
    ['seconds of a request', /bytes, (\d+) s; of more than/, REQUEST_LIMIT_MS / 1_000],
    ['answers of /readyz in a second', /is computed (\w+) times a second/, COMPUTED_PER_SECOND],
  ] as const) {
    it(`are those of the code: ${what}`, () => {
      const said = (stated.exec(text)?.[1] ?? '').replace(',', '').replace('ten', '10');
      assert.equal(said, String(number));
    });
  }

  it('show a control character as the log does', () => {
    assert.equal(escapeUnprintable('\u0085'), '\\u0085');
    assert.ok(text.includes('are shown as `\\uXXXX`'));
  });
});

describe('the tables of docs/configuration.md', () => {
  const rows = rowsOf(textOf('docs/configuration.md'), FIELD_TABLE);
  const fields = schemaFields();

  it('name every field of the schema, once, and no other', () => {
    const named = rows.map(([field = '']) => field.replaceAll('`', ''));
    assert.deepEqual(named.toSorted(), [...fields.keys()].sort());
  });

  it('give the default of each', () => {
    const given = rows.map(([field = '', , value = '']) => [field.replaceAll('`', ''), value]);
    const right = given.map(([field = '']) => [field, fields.get(field)]);
    assert.deepEqual(given, right);
  });
});

function textOf(name: string): string {
  return readFileSync(join(ROOT, name), 'utf8');
}

function resolves(from: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? join(ROOT, from) : join(ROOT, dirname(from), path);
  const stats = statSync(target, { throwIfNoEntry: false });
  if (stats === undefined || relative(ROOT, target).startsWith('..')) return false;
  return (
    anchor === undefined ||
    (stats.isFile() && anchorsOf(textOf(relative(ROOT, target))).has(anchor))
  );
}

/** A configuration that can be checked; undefined for YAML that is something else. */
function wholeConfig(yaml: string, fragment: string | undefined): string | undefined {
  if (fragment === undefined) return yaml.includes(API_VERSION) ? yaml : undefined;
  const complete = COMPLETIONS[fragment];
  if (complete === undefined) throw new Error(`nobody knows how to complete ${fragment}`);
  return complete(yaml);
}

type SchemaNode = {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly items?: SchemaNode;
  readonly default?: unknown;
};

/** Every field that holds no fields itself, with the default as the tables write it. */
function schemaFields(): ReadonlyMap<string, string> {
  const schema = toJsonSchema(configSchema, {
    typeMode: 'input',
    ignoreActions: ['check', 'transform'],
  });
  return new Map(fieldsOf(schema as SchemaNode, ''));
}

function fieldsOf(node: SchemaNode, path: string): readonly (readonly [string, string])[] {
  return Object.entries(node.properties ?? {}).flatMap(([name, field]) => {
    const here = path === '' ? name : `${path}.${name}`;
    if (field.properties !== undefined) return fieldsOf(withDefaults(field), here);
    if (field.items?.properties !== undefined) return fieldsOf(field.items, `${here}[]`);
    return [[here, written(field, node.required?.includes(name) === true)] as const];
  });
}

/** A default of a mapping is the default of the fields in it that have none of their own. */
function withDefaults(node: SchemaNode): SchemaNode {
  const defaults = (node.default ?? {}) as Readonly<Record<string, unknown>>;
  const properties = Object.fromEntries(
    Object.entries(node.properties ?? {}).map(([name, field]) => [
      name,
      defaults[name] === undefined ? field : { default: defaults[name], ...field },
    ]),
  );
  return { ...node, properties };
}

function written(field: SchemaNode, required: boolean): string {
  if (required) return 'required';
  if (field.default === undefined) return '-';
  return [field.default]
    .flat()
    .map((value) => `\`${value}\``)
    .join(', ');
}
