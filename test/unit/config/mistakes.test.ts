import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadConfig } from '../../../src/config/load.ts';
import { formatProblems } from '../../../src/config/problem.ts';

type Fields = Readonly<Record<string, unknown>>;

const HEAD = { apiVersion: 'trousseau.io/v1', kind: 'KMSPluginConfiguration' };

/** One Vault provider with these fields in place of good ones. */
function vault(fields: Fields, top: Fields = {}): string {
  const settings = {
    addresses: ['https://vault.example:8200'],
    key: 'kubernetes',
    auth: { token: { tokenFile: '/t' } },
    ...fields,
  };
  return JSON.stringify({ ...HEAD, ...top, providers: [{ name: 'v', vault: settings }] });
}
const address = (...addresses: readonly unknown[]): string => vault({ addresses });
const auth = (fields: Fields): string => vault({ auth: fields });
const appRole = (fields: Fields): string => auth({ appRole: { secretIDFile: '/s', ...fields } });
const listen = (fields: Fields): string => vault({}, { listen: fields });

function said(text: string): string {
  const result = loadConfig(text, 'c', {});
  return formatProblems(result.ok ? result.warnings : result.problems);
}

/** Refused, each with the reason that its form shows. */
const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  [
    'an address without a scheme',
    address('vault.example:8200'),
    /addresses\[0\]: must be a URL such as https:\/\/vault.example:8200: the scheme is missing/,
  ],
  ['an address without a scheme and port', address('vault.example'), /the scheme is missing/],
  ['an IP address alone', address('10.0.0.1:8200'), /the scheme is missing/],
  ['an IPv6 address alone', address('[2001:db8::1]:8200'), /the scheme is missing/],
  ['an address with /v1', address('https://v:8200/v1'), /must end before \/v1 or \/ui/],
  [
    'an address with the path of the engine',
    address('https://v:8200/v1/transit'),
    /must end before \/v1 or \/ui.*belongs into mount/,
  ],
  [
    'the address of the web interface',
    address('https://v:8200/ui/vault/auth'),
    /must end before \/v1 or \/ui/,
  ],
  ['an address of another scheme', address('tcp://v:8200'), /its scheme must be https/],
  ['a unix socket as address', address('unix:///run/vault.sock'), /its scheme must be https/],
  ['one slash', address('https:/v:8200'), /two slashes belong behind the scheme/],
  ['no slash', address('https:v:8200'), /two slashes belong behind the scheme/],
  ['a user and a password', address('https://u:secret@v:8200'), /no user and no password/],
  [
    'a proxy without a scheme',
    vault({ proxy: '10.0.0.1:3128' }),
    /proxy: must be a URL such as http:\/\/proxy\.example:3128: .*write http:\/\/ before/,
  ],
  [
    'a proxy of another scheme',
    vault({ proxy: 'socks5://p:1080' }),
    /its scheme must be https, or/,
  ],
  ['a password of a proxy', vault({ proxy: 'http://u:p@p:3128' }), /name it by HTTPS_PROXY/],
  ['a query', address('https://v:8200?namespace=n'), /leave out \? and #/],
  ['two addresses in one text', address('https://a:8200,https://b:8200'), /an entry of its own/],
  ['addresses as one text', vault({ addresses: 'https://v:8200' }), /must be a list, as \[ENTRY\]/],
  [
    'a variable of the shell',
    address('$VAULT_ADDR'),
    /variables and placeholders are not filled in/,
  ],
  [
    'a variable in braces',
    address('https://\u0024{HOST}:8200'),
    /variables and placeholders are not filled in/,
  ],
  ['a variable as key', vault({ key: '\u0024{KEY}' }), /key: .*variables and placeholders/],
  ['a variable as mount', vault({ mount: '\u0024{MOUNT}' }), /mount: .*variables and placeholders/],
  [
    'a variable in a path',
    auth({ token: { tokenFile: '$HOME/token' } }),
    /tokenFile: .*variables and placeholders/,
  ],
  ['a template', vault({ key: '{{ key }}' }), /variables and placeholders/],
  ['a placeholder', vault({ key: '<key>' }), /variables and placeholders/],
  [
    'the same address in capitals',
    address('https://v:8200', 'HTTPS://V:8200/'),
    /addresses\[1\]: is there twice/,
  ],
  [
    'a mount of auth with auth/',
    appRole({ roleID: 'r', mount: 'auth/approle' }),
    /mount: must be the method's own path: leave out auth\//,
  ],
  [
    'the same of another method',
    auth({ kubernetes: { role: 'r', mount: '/auth/kubernetes/' } }),
    /leave out auth\//,
  ],
  [
    'the same of jwt',
    auth({ jwt: { role: 'r', tokenFile: '/t', mount: 'auth/jwt' } }),
    /leave out auth\//,
  ],
  [
    'the same of cert',
    auth({ cert: { certFile: '/c', keyFile: '/k', mount: 'auth/cert' } }),
    /leave out auth\//,
  ],
  [
    'the same of userpass',
    auth({ userpass: { username: 'u', passwordFile: '/p', mount: 'auth/up' } }),
    /leave out auth\//,
  ],
  [
    'a mount with v1/',
    vault({ mount: 'v1/transit' }),
    /mount: must be the path alone: leave out v1\//,
  ],
  [
    'a mount with the path of keys',
    vault({ mount: 'transit/keys/k' }),
    /must be the engine's own path/,
  ],
  ['a mount with encrypt', vault({ mount: 'transit/encrypt' }), /must be the engine's own path/],
  [
    'a key with its mount',
    vault({ key: 'transit/keys/k' }),
    /key: .*write the name of the key alone/,
  ],
  [
    'a role id that is a path',
    appRole({ roleID: '/etc/trousseau/role-id' }),
    /roleID: is a path: name a file with roleIDFile/,
  ],
  [
    'a server name with a scheme',
    vault({ tls: { serverName: 'https://v' } }),
    /serverName: must be a host name/,
  ],
  [
    'a server name with a port',
    vault({ tls: { serverName: 'v:8200' } }),
    /serverName: must be a host name/,
  ],
  [
    'a certificate in place of its file',
    vault({ tls: { caFile: '-----BEGIN CERTIFICATE-----' } }),
    /caFile: .*name a file with it/,
  ],
  [
    'a credential as authority',
    vault({ tls: { caFile: 'credential:ca' } }),
    /credential:NAME is for secrets only/,
  ],
  ['a file URL', auth({ token: { tokenFile: 'file:///t' } }), /leave out file:\/\//],
  ['a path with a tilde', auth({ token: { tokenFile: '~/t' } }), /write the whole path/],
  [
    'a token in place of its file',
    auth({ token: { tokenFile: 'hvs.x' } }),
    /the secret itself never stands here/,
  ],
  [
    'a socket with its scheme',
    listen({ socket: 'unix:///run/t/kms.sock' }),
    /socket: must be an absolute path to a socket: leave out unix:\/\//,
  ],
  ['an abstract socket', listen({ socket: '@kms' }), /abstract sockets have no permissions/],
  ['a mode without quotes', listen({ mode: 600 }), /mode: .*quote it: "0600"/],
  ['an API as text', listen({ apis: 'v2' }), /apis: must be a list, as \[ENTRY\]/],
  [
    'a boolean in quotes',
    vault({ hedge: 'false' }),
    /hedge: .*write true or false, without quotes/,
  ],
  ['yes', vault({ allowPlainHTTP: 'yes' }), /write true or false, without quotes/],
  [
    'an admin address for everybody',
    vault({}, { admin: { address: '0.0.0.0:9470' } }),
    /everybody in the network could read it/,
  ],
  ['a port alone', vault({}, { admin: { address: ':9470' } }), /everybody in the network/],
  ['a duration as number', vault({ requestTimeout: 2 }), /write the unit too: 30s/],
  [
    'a level with a blank',
    vault({}, { log: { level: 'info ' } }),
    /level: .*a blank or a line feed/,
  ],
  ['a writer as text', vault({}, { write: 'v' }), /write: must be a list, as \[ENTRY\]/],
];

/** Of another program: one sentence, and not one for each field. */
const OTHER_FILES: readonly (readonly [string, Fields, RegExp])[] = [
  [
    "kube-apiserver's",
    { apiVersion: 'apiserver.config.k8s.io/v1', kind: 'EncryptionConfiguration', resources: [] },
    /this is kube-apiserver's file/,
  ],
  ['a ConfigMap', { apiVersion: 'v1', kind: 'ConfigMap', data: {} }, /an object of Kubernetes/],
  [
    "the kubelet's",
    { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' },
    /a file of Kubernetes' own programs/,
  ],
  [
    "kubeadm's",
    { apiVersion: 'kubeadm.k8s.io/v1beta4', kind: 'ClusterConfiguration' },
    /a file of Kubernetes' own programs/,
  ],
];

describe('a value that shows its mistake', () => {
  assert.equal(said(vault({})), '');
  for (const [what, text, expected] of REFUSED) {
    it(`is refused with what to write instead: ${what}`, () => {
      const problems = said(text);
      assert.match(problems, expected);
      assert.doesNotMatch(problems, /secret@/);
      assert.equal(problems.trimEnd().split('\n').length, 1, problems);
    });
  }

  for (const [what, fields, expected] of OTHER_FILES) {
    it(`is one sentence on a file of another kind: ${what}`, () => {
      const problems = said(JSON.stringify(fields));
      assert.match(problems, expected);
      assert.doesNotMatch(problems, /no such field|is missing/);
    });
  }

  for (const [what, text, expected] of [
    [
      'the mount again in the path of a KV secret',
      auth({ token: { tokenFile: '/t' }, dedicatedToken: { path: 'secret/kms' } }),
      /path: begins with the path of the mount/,
    ],
    [
      'data/ of KV version 2',
      auth({ token: { tokenFile: '/t' }, dedicatedToken: { path: 'data/kms' } }),
      /path: begins with data\//,
    ],
  ] as const) {
    it(`is a warning where it may be meant so: ${what}`, () => {
      assert.equal(loadConfig(text, 'c', {}).ok, true);
      assert.match(said(text), expected);
    });
  }

  for (const [what, text] of [
    ['a path before that of Vault', address('https://proxy.example/vault')],
    ['an address without a port', address('https://vault.example/')],
    ['IPv6', address('https://[2001:db8::1]:8200')],
    ['a mount of several parts', vault({ mount: 'team-a/transit' })],
    ['a mount that begins as one of Vault', vault({ mount: 'keyspace' })],
    ['a method at a path of several parts', appRole({ roleID: 'r', mount: 'team-a/approle' })],
    [
      'KV version 1 with data/',
      auth({ token: { tokenFile: '/t' }, dedicatedToken: { path: 'data/kms', kvVersion: 1 } }),
    ],
  ] as const) {
    it(`is none where it is right: ${what}`, () => assert.equal(said(text), ''));
  }
});
