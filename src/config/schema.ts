/**
 * The configuration file's form, as valibot schemas: one source for the types, for the errors and
 * for the JSON Schema in docs/schema. Field names are Kubernetes component configuration style.
 */
import * as v from 'valibot';
import { parseDuration } from './duration.ts';

const text = v.pipe(v.string(), v.nonEmpty('must not be empty'));
const path = v.pipe(text, v.startsWith('/', 'must be an absolute path'));
/** A unix socket's path; kube-apiserver takes `unix:///@NAME` for an abstract socket. */
const socketPath = v.pipe(
  text,
  v.regex(/^\/(?!\/*@).*[^/]$/, 'must be an absolute path to a socket'),
);
/** A secret's place: an absolute path, or `credential:NAME` for a systemd credential. */
const secretFile = v.pipe(
  text,
  v.regex(/^(\/.+|credential:[A-Za-z0-9._-]+)$/, 'must be an absolute path or credential:NAME'),
);
const duration = v.pipe(
  v.string(),
  v.check((s) => parseDuration(s) !== undefined, 'must be a duration such as 500ms, 30s, 5m or 1h'),
  v.transform((s) => parseDuration(s) ?? 0),
);
/** A mount's path in Vault, without slashes at its ends. */
const mountPath = v.pipe(
  text,
  v.regex(/^[^\s?#%]+$/, 'must be a mount path such as transit or team-a/transit'),
  v.check(
    (s) => !s.split('/').some((part) => part === '.' || part === '..'),
    'must not hold . or .. parts',
  ),
  v.check(
    (s) => !/[${}<>"'\u2018-\u201e]/.test(s),
    'must be a mount path such as transit or team-a/transit',
  ),
  v.transform((s) => s.replace(/^\/+|\/+$/g, '')),
  v.nonEmpty('must not be empty'),
  v.check((s) => !/^v1(\/|$)/.test(s), 'must be the path alone: leave out v1/'),
);
/** Where a login method is mounted, without the auth/ that Vault's paths begin with. */
const authMount = v.pipe(
  mountPath,
  v.check((s) => !/^auth(\/|$)/.test(s), "must be the method's own path: leave out auth/"),
);
/** Where the Transit engine is mounted, and nothing of the paths in it. */
const transitMount = v.pipe(
  mountPath,
  v.check(
    (s) => !/(^|\/)(keys|encrypt|decrypt)(\/|$)/.test(s),
    "must be the engine's own path, such as transit: leave out keys/, encrypt/ and decrypt/",
  ),
);
const isUrl = (s: string): boolean => {
  const parsed = URL.parse(s);
  return (
    parsed !== null &&
    /^https?:\/\/[^\s/,]/i.test(s) &&
    !/[${}<>]|\s/.test(s) &&
    parsed.username === '' &&
    parsed.password === '' &&
    parsed.search === '' &&
    parsed.hash === ''
  );
};
const url = v.pipe(text, v.check(isUrl, 'must be a URL such as https://vault.example:8200'));
const proxyUrl = v.pipe(text, v.check(isUrl, 'must be a URL such as http://proxy.example:3128'));
/** A server of Vault; a path before /v1 is possible where a proxy needs it. */
const address = v.pipe(
  url,
  v.check(
    (s) => !/\/(v1|ui)(\/|$)/.test(URL.parse(s)?.pathname ?? ''),
    'must end before /v1 or /ui, which are not part of the address; the path of the engine belongs into mount',
  ),
);

const loginRole = { role: text, tokenFile: secretFile };

const auth = v.strictObject({
  token: v.optional(v.strictObject({ tokenFile: secretFile })),
  appRole: v.optional(
    v.strictObject({
      mount: v.optional(authMount, 'approle'),
      roleID: v.optional(text),
      roleIDFile: v.optional(secretFile),
      secretIDFile: v.optional(secretFile),
      /** The file holds a response-wrapping token; it is unwrapped once. */
      secretIDWrapped: v.optional(v.boolean(), false),
    }),
  ),
  kubernetes: v.optional(
    v.strictObject({
      mount: v.optional(authMount, 'kubernetes'),
      role: text,
      tokenFile: v.optional(secretFile, '/var/run/secrets/kubernetes.io/serviceaccount/token'),
    }),
  ),
  jwt: v.optional(v.strictObject({ mount: v.optional(authMount, 'jwt'), ...loginRole })),
  cert: v.optional(
    v.strictObject({
      mount: v.optional(authMount, 'cert'),
      role: v.optional(text),
      certFile: secretFile,
      keyFile: secretFile,
    }),
  ),
  userpass: v.optional(
    v.strictObject({
      mount: v.optional(authMount, 'userpass'),
      username: text,
      passwordFile: secretFile,
    }),
  ),
  /** Beside any of the above: the token found in this KV field is the one that is used. */
  dedicatedToken: v.optional(
    v.strictObject({
      mount: v.optional(mountPath, 'secret'),
      path: mountPath,
      field: v.optional(text, 'token'),
      kvVersion: v.optional(v.picklist([1, 2]), 2),
    }),
  ),
});

const tls = v.strictObject({
  caFile: v.optional(path),
  certFile: v.optional(secretFile),
  keyFile: v.optional(secretFile),
  serverName: v.optional(
    v.pipe(text, v.regex(/^[A-Za-z0-9._*-]+$/, 'must be a host name, without scheme and port')),
  ),
});

const vault = v.strictObject({
  addresses: v.optional(v.pipe(v.array(address), v.minLength(1, 'must name at least one address'))),
  namespace: v.optional(mountPath),
  mount: v.optional(transitMount, 'transit'),
  key: v.pipe(
    text,
    v.regex(
      /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/,
      "must be a Transit key's name: letters, digits, _ . -",
    ),
  ),
  tls: v.optional(tls, {}),
  /** An HTTP CONNECT proxy; without it HTTPS_PROXY and NO_PROXY hold. */
  proxy: v.optional(proxyUrl),
  /** Plain http to an address that is not loopback must be wished for in so many words. */
  allowPlainHTTP: v.optional(v.boolean(), false),
  /** The longest that one request may take, under the caller's own deadline. */
  requestTimeout: v.optional(duration, '2s'),
  /** Whether a decrypt that is slower than nearly all is asked of a second address too. */
  hedge: v.optional(v.boolean(), true),
  auth,
});

const local = v.strictObject({
  keyringFile: path,
  /** Keyring sealed under a passphrase (scrypt). */
  passphraseFile: v.optional(secretFile),
  /** Keyring sealed under a 32-byte key, raw or base64, e.g. a systemd credential. */
  sealKeyFile: v.optional(secretFile),
});

const provider = v.strictObject({
  name: v.pipe(
    text,
    v.regex(
      /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
      'must be a DNS label: lower-case letters, digits, -',
    ),
  ),
  vault: v.optional(vault),
  local: v.optional(local),
});

const mode = v.pipe(
  v.string(),
  v.regex(/^0?[0-7]{3}$/, 'must be an octal mode in quotes such as "0600"'),
  v.transform((s) => Number.parseInt(s, 8)),
);

export const MOST_CACHED = 100_000;

/** What is taken from the environment where the file is silent. */
export const environmentSchemas = {
  VAULT_ADDR: address,
  VAULT_NAMESPACE: mountPath,
  VAULT_CACERT: path,
};

/** The whole file. Relations between fields are checked in load.ts, where lines can be named. */
export const configSchema = v.strictObject({
  apiVersion: v.literal('trousseau.io/v1'),
  kind: v.literal('KMSPluginConfiguration'),
  listen: v.optional(
    v.strictObject({
      socket: v.optional(socketPath, '/run/trousseau/kms.sock'),
      mode: v.optional(mode, '0600'),
      group: v.optional(text),
      /** Whether others may write to the directory of the sockets: an emptyDir, for instance. */
      sharedDirectory: v.optional(v.boolean(), false),
      apis: v.optional(v.pipe(v.array(v.picklist(['v1', 'v2'])), v.minLength(1)), ['v1', 'v2']),
    }),
    {},
  ),
  admin: v.optional(
    v.strictObject({
      socket: v.optional(socketPath),
      /** Loopback only, e.g. 127.0.0.1:9470. */
      address: v.optional(
        v.pipe(
          v.string(),
          v.regex(
            /^(127(\.\d{1,3}){3}|\[::1\]|localhost):\d{1,5}$/,
            'must be a loopback address with a port such as 127.0.0.1:9470',
          ),
        ),
      ),
    }),
    { socket: '/run/trousseau/admin.sock' },
  ),
  log: v.optional(
    v.strictObject({
      level: v.optional(v.picklist(['debug', 'info', 'warn', 'error']), 'info'),
      format: v.optional(v.picklist(['json', 'text']), 'json'),
    }),
    {},
  ),
  health: v.optional(
    v.strictObject({
      /** How often the key is read while all is well. */
      watchInterval: v.optional(duration, '30s'),
      /** How long Status keeps the last key_id in an outage; without it, for ever. */
      outageGrace: v.optional(duration),
      /** key_ids that are lost for good, so that another key may be announced in their place. */
      acknowledgedLosses: v.optional(
        v.array(
          v.pipe(text, v.regex(/^[a-z]+:v\d+:[0-9a-f]{32}$/, 'must be a key_id, as in /readyz')),
        ),
      ),
    }),
    {},
  ),
  providers: v.pipe(v.array(provider), v.minLength(1, 'must name at least one provider')),
  write: v.optional(v.array(text)),
  /** Keeps what was decrypted in memory, encrypted, for when the provider is away; off without it. */
  decryptCache: v.optional(
    v.strictObject({
      maxEntries: v.optional(
        v.pipe(
          v.number(),
          v.integer('must be a whole number'),
          v.minValue(1, 'must be at least 1'),
          v.maxValue(MOST_CACHED, `must be at most ${MOST_CACHED}`),
        ),
        1000,
      ),
      maxAge: v.optional(duration, '1h'),
    }),
  ),
});

/** The configuration as it was read, durations in milliseconds, modes as numbers. */
export type Config = v.InferOutput<typeof configSchema>;
/** One Vault provider's settings. */
export type VaultConfig = v.InferOutput<typeof vault>;
/** How to log in to Vault; exactly one method is set, `dedicatedToken` beside it at will. */
export type AuthConfig = v.InferOutput<typeof auth>;
/** TLS towards Vault. */
export type TlsConfig = v.InferOutput<typeof tls>;
/** One local keyring's settings. */
export type LocalConfig = v.InferOutput<typeof local>;
