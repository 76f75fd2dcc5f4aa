/** What must hold between fields of a configuration, beyond the form of each. */
import { resolve } from 'node:path';
import type { FieldPath } from './problem.ts';
import type { AuthConfig, Config, VaultConfig } from './schema.ts';

export type Finding = {
  readonly path: FieldPath;
  readonly message: string;
  readonly severity: 'error' | 'warning';
};

const MAX_PORT = 65_535;
/** The kernel takes 107, and the plugin binds a name beside it first, which is 11 longer. */
const MAX_SOCKET_PATH_BYTES = 96;
const METHODS = [
  'token',
  'appRole',
  'kubernetes',
  'jwt',
  'cert',
  'userpass',
] as const satisfies readonly (keyof AuthConfig)[];

/** Everything that does not fit together, in the order of the file. Environment defaults are filled in before. */
export function checkRelations(config: Config): readonly Finding[] {
  return [
    ...checkListen(config),
    ...checkTimes(config),
    ...checkProviders(config),
    ...checkWrite(config),
  ];
}

function error(path: FieldPath, message: string): Finding {
  return { path, message, severity: 'error' };
}

function* checkListen({ listen, admin }: Config): Generator<Finding> {
  for (const [path, socket] of [
    [['listen', 'socket'], listen.socket],
    [['admin', 'socket'], admin.socket],
  ] as const) {
    if (socket !== undefined && Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES) {
      yield error(
        path,
        `a socket's path can have at most ${MAX_SOCKET_PATH_BYTES} bytes; found ${Buffer.byteLength(socket)}`,
      );
    }
  }
  const port = /:(\d+)$/.exec(admin.address ?? '')?.[1];
  if (Number(port) > MAX_PORT) yield error(['admin', 'address'], `no port is above ${MAX_PORT}`);
  if (port !== undefined && Number(port) === 0)
    yield error(['admin', 'address'], 'port 0 is any free one, which nobody would know: name one');
  const numbers = /^([\d.]+):/.exec(admin.address ?? '')?.[1]?.split('.') ?? [];
  if (numbers.some((number) => Number(number) > 255))
    yield error(['admin', 'address'], 'is no address: its numbers go from 0 to 255');
  if (admin.address !== undefined && admin.socket !== undefined) {
    yield {
      path: ['admin', 'socket'],
      message: 'is not used: admin.address takes its place; leave out one of the two',
      severity: 'warning',
    };
  }
  if (admin.socket !== undefined && resolve(admin.socket) === resolve(listen.socket))
    yield error(['admin', 'socket'], 'must not be the socket of listen');
  if ((listen.mode & 0o600) !== 0o600)
    yield error(['listen', 'mode'], 'must let the owner read and write, e.g. "0600"');
  if ((listen.mode & 0o007) !== 0) {
    yield error(
      ['listen', 'mode'],
      'must give nothing to others: whoever may open the socket can decrypt everything',
    );
  }
  if (listen.group !== undefined && (listen.mode & 0o060) !== 0o060) {
    yield error(['listen', 'group'], 'needs mode "0660", or the group cannot use the socket');
  }
}

function* checkTimes({ health, providers, decryptCache }: Config): Generator<Finding> {
  if (
    decryptCache !== undefined &&
    (decryptCache.maxAge < 1_000 || decryptCache.maxAge > 86_400_000)
  ) {
    yield error(['decryptCache', 'maxAge'], 'must be between 1s and 24h');
  }
  if (health.watchInterval < 1_000 || health.watchInterval > 300_000) {
    yield error(['health', 'watchInterval'], 'must be between 1s and 5m');
  }
  for (const [i, { vault }] of providers.entries()) {
    if (vault !== undefined && (vault.requestTimeout < 100 || vault.requestTimeout > 60_000)) {
      yield error(['providers', i, 'vault', 'requestTimeout'], 'must be between 100ms and 1m');
    }
  }
}

function* checkProviders({ providers }: Config): Generator<Finding> {
  const names = new Set<string>();
  for (const [i, provider] of providers.entries()) {
    const at = ['providers', i];
    if (names.has(provider.name))
      yield error([...at, 'name'], 'is used twice; each provider needs a name of its own');
    names.add(provider.name);
    if ((provider.vault === undefined) === (provider.local === undefined)) {
      yield error(at, 'must have exactly one of vault and local');
    }
    if (provider.vault !== undefined) yield* checkVault([...at, 'vault'], provider.vault);
    const { local } = provider;
    if (local?.passphraseFile !== undefined && local.sealKeyFile !== undefined) {
      yield error(
        [...at, 'local', 'sealKeyFile'],
        'excludes passphraseFile: a keyring is sealed in one way',
      );
    }
  }
}

function* checkVault(at: FieldPath, vault: VaultConfig): Generator<Finding> {
  const addresses = vault.addresses ?? [];
  if (addresses.length === 0)
    yield error([...at, 'addresses'], 'is missing, and VAULT_ADDR is not set');
  for (const [i, address] of addresses.entries()) {
    const where = [...at, 'addresses', i];
    if (addresses.findIndex((other) => sameServer(other, address)) !== i)
      yield error(where, 'is there twice');
    if (isPlain(address) && !isLoopback(address)) {
      yield vault.allowPlainHTTP
        ? {
            path: where,
            severity: 'warning',
            message: 'is plain http: whoever is on the way reads the token and every data key',
          }
        : error(
            where,
            'is plain http to another host, which shows the token and every data key to whoever is on the way: use https, or set allowPlainHTTP: true',
          );
    }
  }
  yield* checkPair(at, ['tls'], vault.tls);
  const { auth } = vault;
  const methods = METHODS.filter((method) => auth[method] !== undefined);
  if (methods.length !== 1) {
    const given = methods.length === 0 ? 'none' : methods.join(' and ');
    yield error(
      [...at, 'auth'],
      `must have exactly one of ${METHODS.join(', ')} (dedicatedToken may stand beside it); found ${given}`,
    );
  }
  const { appRole } = auth;
  if (appRole !== undefined) {
    if ((appRole.roleID === undefined) === (appRole.roleIDFile === undefined)) {
      yield error([...at, 'auth', 'appRole'], 'must have exactly one of roleID and roleIDFile');
    }
    if (appRole.secretIDWrapped && appRole.secretIDFile === undefined) {
      yield error(
        [...at, 'auth', 'appRole', 'secretIDWrapped'],
        'needs secretIDFile, with the wrapping token in it',
      );
    }
  }
  if (appRole?.roleID?.startsWith('/') === true) {
    yield error(
      [...at, 'auth', 'appRole', 'roleID'],
      'is a path: name a file with roleIDFile, or write the role id itself',
    );
  }
  yield* checkDedicatedToken([...at, 'auth', 'dedicatedToken', 'path'], auth.dedicatedToken);
  if (auth.cert !== undefined && addresses.some(isPlain)) {
    yield error(
      [...at, 'auth', 'cert'],
      'needs https: the certificate belongs to the TLS connection',
    );
  }
}

function* checkDedicatedToken(
  path: FieldPath,
  dedicatedToken: AuthConfig['dedicatedToken'],
): Generator<Finding> {
  if (dedicatedToken === undefined) return;
  const { mount, path: secret, kvVersion } = dedicatedToken;
  if (secret.startsWith(`${mount}/`)) {
    yield {
      path,
      severity: 'warning',
      message: 'begins with the path of the mount, which is added to it: is it there twice?',
    };
  } else if (kvVersion === 2 && /^(data|metadata)\//.test(secret)) {
    yield {
      path,
      severity: 'warning',
      message: 'begins with data/ or metadata/, which KV version 2 adds by itself: leave it out',
    };
  }
}

function* checkPair(
  at: FieldPath,
  more: FieldPath,
  {
    certFile,
    keyFile,
  }: { readonly certFile?: string | undefined; readonly keyFile?: string | undefined },
): Generator<Finding> {
  if ((certFile === undefined) !== (keyFile === undefined))
    yield error([...at, ...more], 'needs certFile and keyFile together');
}

function* checkWrite({ write, providers }: Config): Generator<Finding> {
  if (write === undefined) return;
  if (write.length !== 1)
    yield error(['write'], `must name exactly one provider in this version; found ${write.length}`);
  for (const [i, name] of write.entries()) {
    if (!providers.some((provider) => provider.name === name)) {
      yield error(
        ['write', i],
        `names no provider; there are: ${providers.map((provider) => provider.name).join(', ')}`,
      );
    }
  }
}

/** The scheme of a URL may be written in capitals too. */
function isPlain(address: string): boolean {
  return new URL(address).protocol === 'http:';
}

/** Written differently, and yet the same: capitals, the default port, a slash at the end. */
function sameServer(one: string, other: string): boolean {
  return new URL(one).href.replace(/\/$/, '') === new URL(other).href.replace(/\/$/, '');
}

function isLoopback(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}
