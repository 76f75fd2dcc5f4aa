/**
 * Servers of one Vault without sockets and without time: they answer where undici would send. The
 * Vault behind them is one: it knows which tokens it granted and which were given back.
 *
 * What the usual answers copy, seen on Vault 1.21.1: a batch with a damaged item is 400 with a
 * result for each item; `oldest` is 1.9.3, where one damaged item fails the whole batch with 500.
 */
import type { Dispatcher } from 'undici';
import type { DispatcherOptions } from '../../../src/providers/vault/dispatcher.ts';
import { unsent } from '../../../src/providers/vault/errors.ts';

/** A response as it stands on the wire, or how there is none. */
export type Wire =
  | {
      readonly status: number;
      readonly text: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | 'refused'
  | 'reset'
  | 'hang';

export type Asked = {
  /** Without `/v1/`. */
  readonly path: string;
  readonly token: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
};

/** Answers one request; undefined leaves it to the usual. */
export type Behaviour = (asked: Asked) => Wire | undefined;

export type FakeServers = {
  readonly open: (options: DispatcherOptions) => Dispatcher;
  /** What Vault does and answers; a behaviour calls it where only the answer of Vault is lost. */
  readonly usual: (asked: Asked) => Wire;
  /** By the URL of the server. */
  readonly behaviours: Map<string, Behaviour>;
  /** What was asked of whom, and when. */
  readonly asked: { readonly url: string; readonly path: string; readonly at: number }[];
  /** Base64 of the plaintexts that have left a server. */
  readonly answered: Set<string>;
  /** Tokens that were granted, and neither given back nor over by now. */
  readonly tokens: () => readonly string[];
};

export const jsonOf = (
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Wire => ({
  status,
  text: JSON.stringify(body),
  headers: { 'content-type': 'application/json', ...headers },
});
export const errorsOf = (status: number, ...errors: string[]): Wire => jsonOf(status, { errors });

export const PATHS = {
  login: 'auth/approle/login',
  lookup: 'auth/token/lookup-self',
  renew: 'auth/token/renew-self',
  revoke: 'auth/token/revoke-self',
  unwrap: 'sys/wrapping/unwrap',
  describe: 'transit/keys/kubernetes',
  encrypt: 'transit/encrypt/kubernetes',
  decrypt: 'transit/decrypt/kubernetes',
} as const;

const TAMPERED = 'TAMPERED';
const OVERHEAD = Buffer.alloc(28, 1);

/** What the fake Transit makes of a plaintext. */
export function sealed(text: string | Uint8Array, version = 1): Uint8Array {
  const bytes = Buffer.concat([OVERHEAD, Buffer.from(text)]);
  return Buffer.from(`vault:v${version}:${bytes.toString('base64')}`);
}

/** A ciphertext that does not authenticate. */
export const tampered = (): Uint8Array => sealed(TAMPERED);

/** @param ttl what a login grants, in seconds */
export function createFakeServers(now: () => number, ttl: number): FakeServers {
  const behaviours = new Map<string, Behaviour>();
  const asked: FakeServers['asked'] = [];
  const answered = new Set<string>();
  /** Until when each is good. */
  const tokens = new Map<string, number>();
  let granted = 0;

  const grant = (token: string): Wire => {
    tokens.set(token, now() + ttl * 1_000);
    return jsonOf(200, authOf(token, ttl));
  };

  const usual = ({ path, token, body }: Asked): Wire => {
    switch (path) {
      case PATHS.login:
        granted += 1;
        return grant(`hvs.token-${granted}`);
      case PATHS.renew:
        return grant(token ?? '');
      case PATHS.lookup:
        return jsonOf(200, { data: { ttl: 3_600, renewable: true, num_uses: 0 } });
      case PATHS.revoke:
        tokens.delete(token ?? '');
        return { status: 204, text: '' };
      case PATHS.unwrap:
        return jsonOf(200, { data: { secret_id: 'unwrapped' } });
      case 'sys/capabilities-self': {
        const paths = body['paths'] as readonly string[];
        return jsonOf(200, { data: Object.fromEntries(paths.map((each) => [each, ['deny']])) });
      }
      case PATHS.describe:
        return jsonOf(200, { data: KEY });
      case PATHS.encrypt:
        return jsonOf(200, { data: { batch_results: itemsOf(body).map(encrypted) } });
      case PATHS.decrypt:
        return decryptedAsNewest(itemsOf(body));
      default:
        return jsonOf(200, { sealed: false, initialized: true });
    }
  };

  const note = (wire: Wire): void => {
    if (typeof wire === 'string') return;
    for (const [, plaintext = ''] of wire.text.matchAll(/"plaintext":"([^"]+)"/g))
      answered.add(plaintext);
  };

  const open: FakeServers['open'] = ({ target: { url } }) => {
    const dispatch: Dispatcher['dispatch'] = (options, handler) => {
      const path = options.path.replace(/^\/v1\//, '');
      const headers = options.headers as Readonly<Record<string, string>>;
      const request: Asked = {
        path,
        token: headers['x-vault-token'],
        body: typeof options.body === 'string' ? JSON.parse(options.body) : {},
      };
      asked.push({ url, path, at: now() });
      let aborted = false;
      const controller = {
        abort(error: Error) {
          aborted = true;
          handler.onResponseError?.(controller as never, error);
        },
      } as unknown as Dispatcher.DispatchController;
      handler.onRequestStart?.(controller, {});
      queueMicrotask(() => {
        if (aborted) return;
        const wire = behaviours.get(url)?.(request) ?? usual(request);
        give(wire, handler, controller);
        note(wire);
      });
      return true;
    };
    const ends = { close: async () => undefined, destroy: async () => undefined };
    return { dispatch, ...ends } as unknown as Dispatcher;
  };
  const left = (): readonly string[] =>
    [...tokens].flatMap(([token, until]) => (until > now() ? [token] : []));
  return { open, usual, behaviours, asked, answered, tokens: left };
}

function give(
  wire: Wire,
  handler: Dispatcher.DispatchHandler,
  controller: Dispatcher.DispatchController,
): void {
  if (wire === 'hang') return;
  if (typeof wire === 'string') {
    const code = wire === 'refused' ? 'ECONNREFUSED' : 'ECONNRESET';
    const error = Object.assign(new Error(code), { code });
    handler.onResponseError?.(controller, wire === 'refused' ? unsent(error) : error);
    return;
  }
  handler.onResponseStart?.(controller, wire.status, wire.headers ?? {}, '');
  if (wire.text !== '') handler.onResponseData?.(controller, Buffer.from(wire.text));
  handler.onResponseEnd?.(controller, {});
}

type Item = {
  readonly plaintext: string;
  readonly ciphertext: string;
  readonly key_version: number;
};

function itemsOf(body: Asked['body']): readonly Item[] {
  return (body['batch_input'] ?? []) as readonly Item[];
}

const authOf = (client_token: string, ttl: number): object => ({
  auth: { client_token, lease_duration: ttl, renewable: true },
});

const KEY = {
  type: 'aes256-gcm96',
  keys: { 1: 1_700_000_000 },
  latest_version: 1,
  min_decryption_version: 1,
  supports_encryption: true,
  supports_decryption: true,
};

function encrypted({ plaintext, key_version }: Item): object {
  if (key_version > 1)
    return { error: 'requested version for encryption is higher than the latest key version' };
  const ciphertext = sealed(Buffer.from(plaintext, 'base64'), key_version);
  return { ciphertext: Buffer.from(ciphertext).toString(), key_version };
}

function plaintextOf({ ciphertext }: Item): Buffer {
  return Buffer.from(ciphertext.split(':')[2] ?? '', 'base64').subarray(OVERHEAD.length);
}

const isTampered = (item: Item): boolean => plaintextOf(item).includes(TAMPERED);

/** The results of a batch, a damaged item saying why. */
function decrypted(items: readonly Item[], why: string): object {
  const batch_results = items.map((item) =>
    isTampered(item) ? { error: why } : { plaintext: plaintextOf(item).toString('base64') },
  );
  return { data: { batch_results } };
}

function decryptedAsNewest(items: readonly Item[]): Wire {
  const body = decrypted(items, 'cipher: message authentication failed');
  return jsonOf(items.some(isTampered) ? 400 : 200, body);
}

/** Decrypting as Vaults of other kinds do it. */
export const DECRYPTING: Readonly<Record<string, Behaviour>> = {
  'AES key of 1.21': ({ body }) => decryptedAsNewest(itemsOf(body)),
  'RSA key of 1.21': ({ body }) => {
    const items = itemsOf(body);
    const answer = decrypted(
      items,
      'failed to RSA decrypt the ciphertext: crypto/rsa: decryption error',
    );
    return jsonOf(items.some(isTampered) ? 500 : 200, answer);
  },
  'AES key of 1.9.3': ({ body }) =>
    itemsOf(body).some(isTampered)
      ? errorsOf(500, '1 error occurred:\n\t* cipher: message authentication failed\n\n')
      : decryptedAsNewest(itemsOf(body)),
  'RSA key of 1.9.3': ({ body }) =>
    itemsOf(body).some(isTampered)
      ? errorsOf(
          500,
          '1 error occurred:\n\t* failed to RSA decrypt the ciphertext: crypto/rsa: decryption error\n\n',
        )
      : decryptedAsNewest(itemsOf(body)),
};
