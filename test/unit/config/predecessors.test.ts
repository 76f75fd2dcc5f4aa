import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { loadConfig } from '../../../src/config/load.ts';
import { migrateConfig } from '../../../src/config/migrate.ts';
import { formatProblems } from '../../../src/config/problem.ts';

const SECRET = 's.planted-secret-of-old';

type Row = {
  readonly what: string;
  readonly text: string;
  readonly predecessor: string;
  /** Of the one provider of the new configuration. */
  readonly vault: Readonly<Record<string, unknown>>;
  /** Of the whole new configuration. */
  readonly top?: Readonly<Record<string, unknown>>;
  readonly byHand: readonly RegExp[];
};

/** As https://github.com/ondat/trousseau has it at v1.1.3, scripts/hcvault/archives/k8s/config.yaml. */
const TROUSSEAU_1 = `---
provider: vault
vault:
  keynames:
  -  vault-kms-demo
  address: https://vault.example:8200
  token: ${SECRET}
`;
/** As https://github.com/beezy-dev/kleidi has it, configuration/kleidi/vault-config.json. */
const KLEIDI = `{
  "namespace": "",
  "transitkey": "kleidi",
  "vaultrole": "kleidi",
  "address": "http://172.20.10.9:8200",
  "transitpath": "transit",
  "authmethod": "k8s",
  "authpath": "kubernetes"
}
`;
/** As https://github.com/FalcoSuessgott/vault-kubernetes-kms has it, assets/vault-kubernetes-kms.yml. */
const pod = (...flags: readonly string[]): string => `apiVersion: v1
kind: Pod
metadata:
  name: vault-kubernetes-kms
  namespace: kube-system
spec:
  priorityClassName: system-node-critical
  hostNetwork: true
  containers:
    - name: vault-kubernetes-kms
      image: falcosuessgott/vault-kubernetes-kms:latest
      command:
        - /vault-kubernetes-kms
${flags.map((flag) => `        - ${flag}\n`).join('')}      volumeMounts:
        - name: kms
          mountPath: /opt/kms
`;
const ADDRESS = { addresses: ['https://vault.example:8200'] };

const ROWS: readonly Row[] = [
  {
    what: 'a token',
    text: TROUSSEAU_1,
    predecessor: 'Trousseau 1.x',
    vault: {
      ...ADDRESS,
      key: 'vault-kms-demo',
      auth: { token: { tokenFile: '/etc/trousseau/vault-token' } },
    },
    byHand: [
      /Write the token, which the field token holds/,
      /no "read" on the key: add path "transit\/keys\/vault-kms-demo" \{ capabilities = \["read"\] \}\.$/m,
    ],
  },
  {
    what: 'an AppRole, a certificate authority and paths of its own',
    text: `provider: vault
vault:
  keyNames: [one, two]
  address: https://vault.example:8200
  roleID: ${SECRET}
  secretID: ${SECRET}
  vaultCACert: /opt/ca.pem
  tlsServerName: vault.internal
  transitPath: /team/transit/
  authPath: auth/team
`,
    predecessor: 'Trousseau 1.x',
    vault: {
      ...ADDRESS,
      mount: 'team/transit',
      key: 'one',
      tls: { caFile: '/opt/ca.pem', serverName: 'vault.internal' },
      auth: {
        appRole: {
          mount: 'team/approle',
          roleIDFile: '/etc/trousseau/role-id',
          secretIDFile: '/etc/trousseau/secret-id',
        },
      },
    },
    byHand: [
      /the role id/,
      /the secret id/,
      /several keys, of which the first encrypted/,
      /add path "team\/transit\/keys\/one" \{.*\} and path "team\/transit\/keys\/two" \{.*\}\.$/m,
    ],
  },
  {
    what: 'a certificate',
    text: 'provider: vault\nvault: {keynames: [k], address: "https://vault.example:8200", clientCert: /c, clientKey: /k}\n',
    predecessor: 'Trousseau 1.x',
    vault: { ...ADDRESS, key: 'k', auth: { cert: { certFile: '/c', keyFile: '/k' } } },
    byHand: [/no "read" on the key/],
  },
  ...[SECRET, `${SECRET}/half`, `half@${SECRET}`, `half@${SECRET}/half`].map((password) => ({
    what: `an address with the password ${password}`,
    text: TROUSSEAU_1.replace('https://', `https://user:${password}@`),
    predecessor: 'Trousseau 1.x',
    vault: {
      ...ADDRESS,
      key: 'vault-kms-demo',
      auth: { token: { tokenFile: '/etc/trousseau/vault-token' } },
    },
    byHand: [/had a user or a password in it/],
  })),
  {
    what: 'the same fields at the top',
    text: `keyNames: [k]\naddress: https://vault.example:8200\ntoken: ${SECRET}\n`,
    predecessor: 'Trousseau 2.0 alpha',
    vault: { ...ADDRESS, key: 'k', auth: { token: { tokenFile: '/etc/trousseau/vault-token' } } },
    byHand: [/Write the token/],
  },
  {
    what: 'the Kubernetes method and plain http',
    text: KLEIDI,
    predecessor: 'kleidi',
    vault: {
      addresses: ['http://172.20.10.9:8200'],
      mount: 'transit',
      key: 'kleidi',
      allowPlainHTTP: true,
      auth: { kubernetes: { mount: 'kubernetes', role: 'kleidi' } },
    },
    byHand: [/plain http/, /use AppRole instead/],
  },
  {
    what: 'a certificate, and field names as they were first',
    text: '{"Namespace": "n", "Transitkey": "k", "Vaultrole": "r", "Address": "https://vault.example:8200", "authmethod": "cert", "authpath": "certauth"}',
    predecessor: 'kleidi',
    vault: {
      ...ADDRESS,
      namespace: 'n',
      key: 'k',
      auth: {
        cert: {
          mount: 'certauth',
          role: 'r',
          certFile: '/etc/trousseau/client.pem',
          keyFile: '/etc/trousseau/client.key',
        },
      },
    },
    byHand: [/VAULT_CLIENT_CERT/, /VAULT_CACERT/],
  },
  {
    what: 'a token in a Pod',
    text: pod(
      '-vault-address=https://vault.example:8200',
      '-auth-method=token',
      `-token=${SECRET}`,
    ),
    predecessor: 'vault-kubernetes-kms',
    vault: { ...ADDRESS, key: 'kms', auth: { token: { tokenFile: '/etc/trousseau/vault-token' } } },
    byHand: [/Write the token, which -token holds/, /and not \/opt\/kms\/vaultkms\.socket/],
  },
  {
    what: 'an AppRole in a Pod, and every other setting',
    text: pod(
      '--vault-address',
      'https://vault.example:8200',
      '-vault-namespace=admin',
      '-vault-ca-cert=/ca.pem',
      '-transit-mount=team/transit',
      '-transit-key=k',
      '-auth-method=approle',
      '-approle-mount=team/approle',
      `-approle-role-id=${SECRET}`,
      '-approle-secret-id',
      SECRET,
      '-disable-v1',
      '-debug',
      '-socket=unix:///run/kms/vault.sock',
    ),
    predecessor: 'vault-kubernetes-kms',
    vault: {
      ...ADDRESS,
      namespace: 'admin',
      mount: 'team/transit',
      key: 'k',
      tls: { caFile: '/ca.pem' },
      auth: {
        appRole: {
          mount: 'team/approle',
          roleIDFile: '/etc/trousseau/role-id',
          secretIDFile: '/etc/trousseau/secret-id',
        },
      },
    },
    top: { listen: { apis: ['v2'] }, log: { level: 'debug' } },
    byHand: [/the role id, which -approle-role-id holds/, /and not \/run\/kms\/vault\.sock/],
  },
  {
    what: 'variables of a Pod',
    text: `apiVersion: v1
kind: Pod
spec:
  containers:
    - env:
        - {name: VAULT_KMS_VAULT_ADDR, value: "https://vault.example:8200"}
        - {name: VAULT_KMS_AUTH_METHOD, value: userpass}
        - {name: VAULT_KMS_USERPASS_USERNAME, value: kms}
        - {name: VAULT_KMS_USERPASS_PASSWORD, value: ${SECRET}}
        - {name: VAULT_KMS_TRANSIT_KEY, value: k}
`,
    predecessor: 'vault-kubernetes-kms',
    vault: {
      ...ADDRESS,
      key: 'k',
      auth: { userpass: { username: 'kms', passwordFile: '/etc/trousseau/password' } },
    },
    byHand: [/the password, which -userpass-password holds/],
  },
  {
    what: 'a certificate in a unit, over two lines',
    text: '[Service]\n# -token=old\nExecStart=/usr/bin/vault-kubernetes-kms -vault-address=https://vault.example:8200 \\\n  -auth-method=cert -cert-pem "/var/lib/kubelet/pki/kubelet-client-current.pem" -cert-role kms\n',
    predecessor: 'vault-kubernetes-kms',
    vault: {
      ...ADDRESS,
      key: 'kms',
      auth: {
        cert: {
          role: 'kms',
          certFile: '/var/lib/kubelet/pki/kubelet-client-current.pem',
          keyFile: '/var/lib/kubelet/pki/kubelet-client-current.pem',
        },
      },
    },
    byHand: [],
  },
  {
    what: 'a file of variables, with JWT',
    text: 'VAULT_KMS_VAULT_ADDR=https://vault.example:8200\nexport VAULT_KMS_AUTH_METHOD="jwt"\nVAULT_KMS_JWT_ROLE=r\nVAULT_KMS_JWT_TOKEN_PATH=/jwt\n',
    predecessor: 'vault-kubernetes-kms',
    vault: { ...ADDRESS, key: 'kms', auth: { jwt: { role: 'r', tokenFile: '/jwt' } } },
    byHand: [/a file of the node/],
  },
  {
    what: 'the names of 0.1, and the Kubernetes method',
    text: pod(
      '-vault-address=https://vault.example:8200',
      '-vault-transit-key=k',
      '-auth-method=k8s',
      '-vault-k8s-role=r',
      '-vault-k8s-mount=m',
    ),
    predecessor: 'vault-kubernetes-kms',
    vault: { ...ADDRESS, key: 'k', auth: { kubernetes: { mount: 'm', role: 'r' } } },
    byHand: [/use AppRole instead/],
  },
];

describe('the configuration of an earlier plugin', () => {
  for (const { what, text, predecessor, vault, top = {}, byHand } of ROWS) {
    it(`is turned into one that is accepted: ${predecessor}, ${what}`, () => {
      const migrated = migrateConfig(text);
      assert.ok(migrated.ok);
      assert.equal(migrated.from, predecessor);
      assert.deepEqual(parse(migrated.text), {
        apiVersion: 'trousseau.io/v1',
        kind: 'KMSPluginConfiguration',
        ...top,
        providers: [{ name: 'vault', vault }],
      });
      const loaded = loadConfig(migrated.text, 'new', {});
      assert.ok(loaded.ok, loaded.ok ? '' : formatProblems(loaded.problems));
      for (const sentence of byHand) assert.match(migrated.byHand?.join('\n') ?? '', sentence);
      assert.doesNotMatch(JSON.stringify(migrated), new RegExp(SECRET));
    });

    it(`is named by config check, with the command that turns it: ${predecessor}, ${what}`, () => {
      const loaded = loadConfig(text, 'old.yaml', {});
      assert.ok(!loaded.ok);
      const said = formatProblems(loaded.problems);
      assert.equal(
        said,
        `old.yaml: it is a configuration of ${predecessor}: "trousseau config migrate old.yaml" prints the new one\n`,
      );
    });
  }

  for (const [what, text] of [
    [
      'one of this plugin with the fields of an earlier one',
      'apiVersion: trousseau.io/v1\nkeynames: [a]\n',
    ],
    [
      'a Pod of something else',
      'apiVersion: v1\nkind: Pod\nspec: {containers: [{command: [x, -y=z]}]}\n',
    ],
    ['a Pod without settings', 'kind: Pod\nspec:\n'],
    ['text', 'hello'],
    ['nothing', ''],
    ['a list', '- keynames\n'],
  ] as const) {
    it(`is not seen in ${what}`, () => {
      const loaded = loadConfig(text, 'f', {});
      assert.ok(!loaded.ok);
      assert.doesNotMatch(formatProblems(loaded.problems), /config migrate/);
    });
  }
});
