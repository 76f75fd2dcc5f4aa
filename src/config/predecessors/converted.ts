/** What the configuration of an earlier plugin becomes. */
import { stringify } from 'yaml';

export type Converted = {
  /** The plugin that the file belongs to, as people know it. */
  readonly predecessor: string;
  /** A configuration of Trousseau. */
  readonly text: string;
  /** What no program can do, a sentence each. They never repeat a secret. */
  readonly byHand: readonly string[];
};

/** Settings in the form of this configuration; undefined is left out. */
export type Settings = Readonly<Record<string, unknown>>;

export type VaultSettings = {
  readonly address: string | undefined;
  readonly namespace?: string | undefined;
  readonly mount: string | undefined;
  readonly key: string | undefined;
  readonly tls?: Settings | undefined;
  readonly auth: Settings;
};

export type Old = {
  readonly predecessor: string;
  readonly vault: VaultSettings;
  /** Of the whole file, as `listen`. */
  readonly top?: Settings;
  /** Where the earlier plugin listened, as far as its file says so. */
  readonly socket?: string | undefined;
  readonly byHand: readonly string[];
};

/** Where the secrets of the new configuration lie; the earlier plugins had them in their own files. */
export const SECRET_FILES = {
  token: '/etc/trousseau/vault-token',
  roleID: '/etc/trousseau/role-id',
  secretID: '/etc/trousseau/secret-id',
  password: '/etc/trousseau/password',
  clientCertificate: '/etc/trousseau/client.pem',
  clientKey: '/etc/trousseau/client.key',
} as const;

/** The new configuration, and what is left to do. */
export function converted({ predecessor, vault, top = {}, socket, byHand }: Old): Converted {
  const { namespace, mount, key, tls, auth } = vault;
  const address = withoutCredentials(vault.address);
  const plain = address !== undefined && isPlainToAnotherHost(address);
  const configuration = {
    apiVersion: 'trousseau.io/v1',
    kind: 'KMSPluginConfiguration',
    ...top,
    providers: [
      {
        name: 'vault',
        vault: {
          addresses: [address ?? 'https://vault.example:8200'],
          ...given({ namespace, mount }),
          key: key ?? 'kubernetes',
          ...given({ tls }),
          ...(plain ? { allowPlainHTTP: true } : {}),
          auth,
        },
      },
    ],
  };
  const todo = [
    ...(address === undefined
      ? ['The file names no address: write that of Vault into addresses.']
      : []),
    ...(key === undefined
      ? ['The file names no key: write the name of the Transit key into key.']
      : []),
    ...(plain
      ? [
          'Vault is reached by plain http, which shows the token and every data key to the network: change the address to https, and remove allowPlainHTTP.',
        ]
      : []),
    ...(address === vault.address
      ? []
      : [
          'The address had a user or a password in it, which Vault does not use: they are left out.',
        ]),
    ...byHand,
    `The socket is a new one, /run/trousseau/kms.sock${socket === undefined ? '' : `, and not ${socket}`}: both plugins run side by side until kube-apiserver has moved.`,
    'Then: trousseau config check FILE.',
  ];
  const text = stringify(configuration, { lineWidth: 0 });
  return { predecessor, text: `# From a configuration of ${predecessor}.\n${text}`, byHand: todo };
}

/** Without the fields that are undefined or empty. */
export function given(settings: Settings): Settings {
  return Object.fromEntries(
    Object.entries(settings).filter(([, value]) => value !== undefined && value !== ''),
  );
}

/** What a file with a secret in it asks a person to do; the secret itself is not printed. */
export function moveSecret(what: string, from: string, to: string): string {
  return `Write ${what}, which ${from} holds, into ${to}, readable by the group trousseau alone.`;
}

/** A field of plain data, as text. */
export function textOf(data: unknown, field: string): string | undefined {
  if (!isRecord(data)) return undefined;
  const value = data[field];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function isRecord(data: unknown): data is Readonly<Record<string, unknown>> {
  return typeof data === 'object' && data !== null && !Array.isArray(data);
}

/** With its fields in lower case, as viper and encoding/json of Go read them. */
export function lowered(data: unknown): Readonly<Record<string, unknown>> {
  if (!isRecord(data)) return {};
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key.toLowerCase(), value]));
}

/** A password in an address would be printed with it, also one with an unencoded slash. */
function withoutCredentials(address: string | undefined): string | undefined {
  return address?.replace(/^([a-z]+:\/\/).*@/is, '$1');
}

function isPlainToAnotherHost(address: string): boolean {
  const url = URL.parse(address);
  return url?.protocol === 'http:' && !/^(localhost|127\..*|\[::1\])$/.test(url.hostname);
}
