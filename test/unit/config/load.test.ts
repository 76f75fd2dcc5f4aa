import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { loadConfig } from '../../../src/config/load.ts';
import { printConfig } from '../../../src/config/print.ts';
import { formatProblems } from '../../../src/config/problem.ts';

const HEAD = 'apiVersion: trousseau.io/v1\nkind: KMSPluginConfiguration\n';
const LOCAL = `${HEAD}providers:\n  - name: here\n    local: {keyringFile: /k.json}\n`;

/** A Vault provider whose settings follow, indented by six. */
function vault(settings: string, top = ''): string {
  return `${HEAD}${top}providers:\n  - name: vault\n    vault:\n      key: kubernetes\n${settings}`;
}

const TOKEN = '      auth: {token: {tokenFile: /t}}\n';
const ADDRESS = '      addresses: [https://vault.example:8200]\n';

function problemsOf(text: string, env: Readonly<Record<string, string>> = {}): string {
  const result = loadConfig(text, 'c.yaml', env);
  return result.ok ? '' : formatProblems(result.problems);
}

function load(text: string, env: Readonly<Record<string, string>> = {}) {
  const result = loadConfig(text, 'c.yaml', env);
  assert.ok(result.ok, result.ok ? '' : formatProblems(result.problems));
  return result;
}

describe('a configuration that is right', () => {
  it('has its defaults filled in', () => {
    const { config } = load(LOCAL);
    assert.deepEqual(config.listen, {
      socket: '/run/trousseau/kms.sock',
      mode: 0o600,
      sharedDirectory: false,
      apis: ['v1', 'v2'],
    });
    assert.deepEqual(config.admin, { socket: '/run/trousseau/admin.sock' });
    assert.deepEqual(config.health, { watchInterval: 30_000 });
    assert.deepEqual(config.write, ['here']);
  });

  it('writes with the provider that it names, and reads with all', () => {
    const two = `${LOCAL}  - name: there\n    local: {keyringFile: /other.json}\nwrite: [there]\n`;
    const { config } = load(two);
    assert.deepEqual(config.write, ['there']);
    assert.deepEqual(
      config.providers.map(({ name }) => name),
      ['here', 'there'],
    );
  });

  it('takes address, namespace and authority from the environment of Vault where it is silent', () => {
    const env = {
      VAULT_ADDR: 'https://from.env:8200',
      VAULT_NAMESPACE: 'admin/',
      VAULT_CACERT: '/ca.pem',
    };
    const [silent] = load(vault(TOKEN), env).config.providers;
    assert.ok(silent !== undefined && 'vault' in silent);
    assert.deepEqual(
      [silent.vault.addresses, silent.vault.namespace, silent.vault.tls.caFile],
      [['https://from.env:8200'], 'admin', '/ca.pem'],
    );
    const spoken = vault(
      `${ADDRESS}      namespace: team\n      tls: {caFile: /own.pem}\n${TOKEN}`,
    );
    const [own] = load(spoken, env).config.providers;
    assert.ok(own !== undefined && 'vault' in own);
    assert.deepEqual(
      [own.vault.addresses, own.vault.namespace, own.vault.tls.caFile],
      [['https://vault.example:8200'], 'team', '/own.pem'],
    );
  });

  it('warns of what people expect to work and does not', () => {
    const { warnings } = load(vault(ADDRESS + TOKEN), {
      VAULT_TOKEN: 'hvs.x',
      VAULT_SKIP_VERIFY: '1',
      NODE_EXTRA_CA_CERTS: '/ca.pem',
    });
    assert.match(
      formatProblems(warnings),
      /VAULT_TOKEN is ignored.*\n.*VAULT_SKIP_VERIFY is ignored.*\n.*NODE_EXTRA_CA_CERTS is ignored/,
    );
  });

  it('names the environment where that holds what is wrong, and not the file', () => {
    const said = (env: Readonly<Record<string, string>>): string => problemsOf(vault(TOKEN), env);
    assert.match(
      said({ VAULT_ADDR: 'http://vault.example:8200' }),
      /is plain http to another host, .*; it comes from VAULT_ADDR of the environment$/m,
    );
    assert.match(said({}), /is missing, and VAULT_ADDR is not set$/m);
    assert.doesNotMatch(
      problemsOf(vault(`      addresses: [http://vault.example]\n${TOKEN}`), {
        VAULT_ADDR: 'https://another.example',
      }),
      /environment/,
    );
    const loaded = load(vault(ADDRESS + TOKEN), { VAULT_CACERT: '/none.pem' });
    const path = ['providers', 0, 'vault', 'tls', 'caFile'];
    assert.equal(
      loaded.problemOf({ path, message: '/none.pem: it does not exist' }).message,
      '/none.pem: it does not exist; it comes from VAULT_CACERT of the environment',
    );
    const warned = load(vault(ADDRESS + TOKEN), { VAULT_TOKEN: 'hvs.x' }).warnings;
    assert.equal(warned[0]?.file, 'environment');
  });

  it('names the proxy that comes from the environment, without its password', () => {
    const env = { HTTPS_PROXY: 'http://user:secret@proxy.example:3128' };
    const warned = (more: Readonly<Record<string, string>>): string =>
      formatProblems(load(vault(ADDRESS + TOKEN), { ...env, ...more }).warnings);
    assert.match(
      warned({}),
      /HTTPS_PROXY is in use: https:\/\/vault\.example:8200 is reached through http:\/\/proxy\.example:3128/,
    );
    assert.doesNotMatch(warned({}), /secret/);
    assert.equal(warned({ NO_PROXY: 'localhost vault.example' }), '');
  });

  it('may speak plain http to loopback, and elsewhere only where it says so', () => {
    load(
      vault(
        `      addresses: [http://127.0.0.1:8200, "http://[::1]:8200", http://localhost:8200]\n${TOKEN}`,
      ),
    );
    const { warnings } = load(
      vault(`      addresses: [http://vault.example:8200]\n      allowPlainHTTP: true\n${TOKEN}`),
    );
    assert.match(formatProblems(warnings), /plain http/);
  });

  it('is warned of a socket for the admin endpoint that its port takes the place of', () => {
    const { warnings } = load(`${LOCAL}admin: {socket: /a, address: "127.0.0.1:9470"}\n`);
    assert.match(
      formatProblems(warnings),
      /^c\.yaml:\d+:\d+: admin\.socket: is not used: admin\.address takes its place/,
    );
  });
});

describe('a configuration that is wrong is refused with file, line, column, field and what to do', () => {
  const table: [string, string, RegExp | string][] = [
    ['empty', '', 'c.yaml: it is empty\n'],
    ['not YAML', 'a: [', /^c\.yaml:1:\d+: it is not YAML/],
    ['two documents', `${LOCAL}---\n${LOCAL}`, /it is not YAML: a second document begins here/],
    [
      'a field twice',
      `${HEAD}kind: KMSPluginConfiguration\n`,
      /it is not YAML: this field is there twice/,
    ],
    [
      'a list',
      '- a\n',
      'c.yaml:1:1: must be a mapping of fields; found a list: leave out the dash\n',
    ],
    [
      'another version',
      LOCAL.replace('/v1', '/v9'),
      'c.yaml:1:1: apiVersion: must be trousseau.io/v1; found "trousseau.io/v9"\n',
    ],
    [
      'a mistyped field',
      LOCAL.replace('keyringFile', 'keyringfile'),
      /c\.yaml:5:13: providers\[0\]\.local\.keyringfile: there is no such field; did you mean keyringFile\?/,
    ],
    [
      'an unknown field',
      `${LOCAL}colour: red\n`,
      /c\.yaml:6:1: colour: there is no such field; known here: apiVersion, kind, listen/,
    ],
    [
      'a missing field',
      `${HEAD}providers:\n  - name: here\n    local: {}\n`,
      'c.yaml:5:5: providers[0].local.keyringFile: this field is missing\n',
    ],
    ['no providers', HEAD, /providers: this field is missing/],
    [
      'an unquoted mode',
      `${LOCAL}listen: {mode: 0600}\n`,
      /listen\.mode: must be text; found 600: quote it: "0600"/,
    ],
    [
      'a duration without a unit',
      `${LOCAL}health: {watchInterval: 30}\n`,
      /health\.watchInterval: must be text; found 30: write the unit too: 30s/,
    ],
    [
      'a duration that is none',
      `${LOCAL}health: {watchInterval: soon}\n`,
      /must be a duration such as 500ms, 30s, 5m or 1h; found "soon"/,
    ],
    [
      'a relative path',
      `${LOCAL}listen: {socket: kms.sock}\n`,
      /listen\.socket: must be an absolute path/,
    ],
    [
      'a world-open socket',
      `${LOCAL}listen: {mode: "0666"}\n`,
      /listen\.mode: must give nothing to others/,
    ],
    [
      'a group that cannot use the socket',
      `${LOCAL}listen: {group: kms}\n`,
      /listen\.group: needs mode "0660"/,
    ],
    [
      'a socket path that is too long for the kernel',
      `${LOCAL}listen: {socket: /${'x'.repeat(96)}}\n`,
      /listen\.socket: .* at most 96 bytes; found 97/,
    ],
    [
      'a socket with a scheme',
      `${LOCAL}listen: {socket: "unix:///run/x.sock"}\n`,
      /listen\.socket: must be an absolute path to a socket: leave out unix:\/\//,
    ],
    [
      'an abstract socket',
      `${LOCAL}listen: {socket: "@kms"}\n`,
      /listen\.socket: .*: abstract sockets have no permissions/,
    ],
    [
      'an abstract socket as kube-apiserver writes it',
      `${LOCAL}listen: {socket: "/@kms"}\n`,
      /listen\.socket: must be an absolute path to a socket: abstract sockets have no permissions/,
    ],
    [
      'an admin socket with a scheme',
      `${LOCAL}admin: {socket: "unix:/run/x.sock"}\n`,
      /admin\.socket: must be an absolute path to a socket: leave out/,
    ],
    [
      'a directory for a socket',
      `${LOCAL}listen: {socket: /run/trousseau/}\n`,
      /listen\.socket: must be an absolute path to a socket/,
    ],
    [
      'a port that there is not',
      `${LOCAL}admin: {address: "127.0.0.1:65536"}\n`,
      /admin\.address: no port is above 65535/,
    ],
    [
      'a port that the kernel would choose, and nobody would know',
      `${LOCAL}admin: {address: "localhost:0"}\n`,
      /admin\.address: port 0 is any free one/,
    ],
    [
      'an admin address that is none',
      `${LOCAL}admin: {address: "127.0.0.256:9470"}\n`,
      /admin\.address: is no address: its numbers go from 0 to 255/,
    ],
    [
      'an admin address that is not loopback',
      `${LOCAL}admin: {address: "0.0.0.0:9470"}\n`,
      /admin\.address: must be a loopback address/,
    ],
    [
      'one socket for two',
      `${LOCAL}listen: {socket: /a}\nadmin: {socket: /a}\n`,
      /admin\.socket: must not be the socket of listen/,
    ],
    [
      'one socket for two, written differently',
      `${LOCAL}listen: {socket: /run/x/a}\nadmin: {socket: /run//x/../x/./a}\n`,
      /admin\.socket: must not be the socket of listen/,
    ],
    [
      'two providers of one name',
      `${LOCAL}  - name: here\n    local: {keyringFile: /x}\n`,
      /providers\[1\]\.name: is used twice/,
    ],
    [
      'a provider without a kind',
      `${HEAD}providers:\n  - name: here\n`,
      /providers\[0\]: must have exactly one of vault and local/,
    ],
    [
      'two seals',
      LOCAL.replace('/k.json', '/k.json, passphraseFile: /p, sealKeyFile: /s'),
      /sealKeyFile: excludes passphraseFile/,
    ],
    [
      'an unknown writer',
      `${LOCAL}write: [there]\n`,
      /write\[0\]: names no provider; there are: here/,
    ],
    [
      'two writers',
      `${LOCAL}write: [here, here]\n`,
      /write: must name exactly one provider in this version; found 2/,
    ],
    ['no address anywhere', vault(TOKEN), /addresses: is missing, and VAULT_ADDR is not set/],
    [
      'plain http to another host',
      vault(`      addresses: [http://vault.example]\n${TOKEN}`),
      /c\.yaml:7:19: providers\[0\]\.vault\.addresses\[0\]: is plain http to another host/,
    ],
    [
      'an address with a password',
      vault(`      addresses: ["https://u:p@vault.example"]\n${TOKEN}`),
      /addresses\[0\]: must be a URL such as/,
    ],
    [
      'no login',
      vault(`${ADDRESS}      auth: {}\n`),
      /auth: must have exactly one of token, appRole.*found none/,
    ],
    [
      'two logins',
      vault(`${ADDRESS}      auth: {token: {tokenFile: /t}, jwt: {role: r, tokenFile: /t}}\n`),
      /found token and jwt/,
    ],
    [
      'a role id twice',
      vault(`${ADDRESS}      auth: {appRole: {roleID: r, roleIDFile: /r}}\n`),
      /exactly one of roleID and roleIDFile/,
    ],
    [
      'a certificate without its key',
      vault(`${ADDRESS}      tls: {certFile: /c}\n${TOKEN}`),
      /vault\.tls: needs certFile and keyFile together/,
    ],
    [
      'a secret in the place of a file',
      vault(`${ADDRESS}      auth: {token: {tokenFile: hvs.CAESIJ}}\n`),
      /tokenFile: must be an absolute path or credential:NAME: name a file; the secret itself never stands here/,
    ],
    [
      'a mount that leaves its place',
      vault(`${ADDRESS}      mount: ../sys\n${TOKEN}`),
      /mount: must not hold \. or \.\. parts/,
    ],
  ];
  for (const [name, text, expected] of table) {
    it(name, () => {
      const problems = problemsOf(text);
      if (typeof expected === 'string') assert.equal(problems, expected);
      else assert.match(problems, expected);
    });
  }

  it('names everything that is wrong, not the first thing alone', () => {
    const problems = problemsOf(`${LOCAL}listen: {mode: 1, sokcet: /x}\nlog: {level: loud}\n`);
    assert.equal(problems.trim().split('\n').length, 3);
  });

  it('survives an alias bomb', () => {
    const bomb = [
      'a: &a [x, x, x]',
      ...Array.from(
        'bcdefghij',
        (c, i) => `${c}: &${c} [*${'abcdefghij'[i]}, *${'abcdefghij'[i]}, *${'abcdefghij'[i]}]`,
      ),
    ].join('\n');
    assert.match(problemsOf(bomb), /too many aliases|no such field/);
  });
});

describe('whatever stands in the file', () => {
  const planted = 'hvs.CAESIJplantedplantedplanted';
  const key = fc.constantFrom(
    'providers',
    'vault',
    'auth',
    'token',
    'tokenFile',
    'key',
    'mount',
    'name',
    'listen',
    'mode',
    'apis',
    'level',
    'addresses',
    'tls',
    'colour',
    planted,
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom<unknown>(planted, `https://u:${planted}@h`, 1, true, null, '/path', 'v1'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 5 }),
    ),
  }));

  it('loading never throws, and a value in the wrong place is never repeated', () => {
    fc.assert(
      fc.property(tree, (data) => {
        const withHead = {
          apiVersion: 'trousseau.io/v1',
          kind: 'KMSPluginConfiguration',
          providers: [{ name: 'p', vault: data }],
          ...(data as object),
        };
        const text = JSON.stringify(withHead);
        const problems = problemsOf(text).split('\n');
        // The name of a field is repeated, for the error to be of use; its value is not.
        return problems.every(
          (line) =>
            !line
              .replaceAll(/[\w.[\]]*: there is no such field.*/g, '')
              .split(': ')
              .slice(2)
              .join(': ')
              .includes(planted),
        );
      }),
      { numRuns: 300, examples: [[{ listen: { apis: [planted] } }]] },
    );
  });

  it('any text gives a configuration or problems', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
        const result = loadConfig(text, 'f', {});
        return result.ok || result.problems.length > 0;
      }),
      { numRuns: 300 },
    );
  });
});

describe('the environment where the file is silent', () => {
  const VAULT = (more = ''): string => `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
providers: [{name: p, vault: {key: k, auth: {token: {tokenFile: /t}}${more}}}]
`;
  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ['VAULT_ADDR', 'vault:8200', /VAULT_ADDR must be a URL/],
    ['VAULT_ADDR', 'http://', /VAULT_ADDR must be a URL/],
    ['VAULT_ADDR', 'https://u:secret-password@v:8200', /VAULT_ADDR must be a URL/],
    ['VAULT_CACERT', 'ca.pem', /VAULT_CACERT must be an absolute path/],
    ['VAULT_NAMESPACE', 'a b', /VAULT_NAMESPACE must be a mount path/],
    ['HTTPS_PROXY', 'ftp://proxy', /HTTPS_PROXY must be a URL/],
    ['https_proxy', 'http://', /https_proxy must be a URL/],
  ];
  for (const [name, value, why] of wrong) {
    it(`is refused where ${name} is ${value}, without its value`, () => {
      const env = { VAULT_ADDR: 'https://vault.example', [name]: value };
      const loaded = loadConfig(VAULT(), 'f', env);
      assert.ok(!loaded.ok);
      const told = JSON.stringify(loaded.problems);
      assert.match(told, why);
      assert.doesNotMatch(told, /secret-password/);
    });
  }

  it('is of no interest where the file says it', () => {
    const more = ', addresses: ["https://vault.example"], namespace: n, tls: {caFile: /ca}';
    const env = { VAULT_ADDR: 'nonsense', VAULT_NAMESPACE: ' ', VAULT_CACERT: 'nonsense' };
    assert.equal(loadConfig(VAULT(more), 'f', env).ok, true);
  });

  it('plain http is plain http in capitals too', () => {
    const loaded = loadConfig(VAULT(', addresses: ["HTTP://vault.example:8200"]'), 'f', {});
    assert.ok(!loaded.ok);
    assert.match(JSON.stringify(loaded.problems), /plain http/);
  });
});

describe('what is printed', () => {
  const configs = [
    LOCAL,
    `${LOCAL}listen: {mode: "0660", group: kms, apis: [v2]}\nhealth: {watchInterval: 1m30s, outageGrace: 2h}\n`,
    vault(
      `${ADDRESS}      tls: {caFile: /ca}\n      requestTimeout: 1500ms\n      auth: {kubernetes: {role: r}, dedicatedToken: {path: a/b, kvVersion: 1}}\n`,
    ),
  ];
  for (const text of configs) {
    it('is a configuration that loads to the same', () => {
      const { config } = load(text);
      assert.deepEqual(load(printConfig(config)).config, config);
    });
  }

  it('shows too little of a role id to log in with', () => {
    const { config } = load(vault(`${ADDRESS}      auth: {appRole: {roleID: 0123456789abcdef}}\n`));
    assert.match(printConfig(config), /roleID: 0123\.\.\.\n/);
  });
});

describe('every configuration in README.md and docs/', () => {
  for (const file of ['README.md', ...globSync('docs/**/*.md')]) {
    const blocks = readFileSync(file, 'utf8').matchAll(/```yaml\n([\s\S]*?)```/g);
    for (const [, block = ''] of blocks) {
      const text = block.replace(/^ {3}/gm, (indent, at) =>
        block.startsWith('   ') && (at === 0 || block[at - 1] === '\n') ? '' : indent,
      );
      if (!text.startsWith('apiVersion: trousseau.io/v1')) continue;
      it(`loads as it is written: ${file}`, () => {
        assert.equal(problemsOf(text), '');
      });
    }
  }
});
