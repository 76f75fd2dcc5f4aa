/** A steady load on a plugin: every call is remembered with its times, every answer is checked. */
import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';
import { type Callers, startCallers } from '../load/callers.ts';
import { type Plugin, type PluginOptions, startPlugin } from '../servers/plugin.ts';
import type { VaultAdmin } from '../servers/vault-admin.ts';
import { POLICY, secretFile, vaultConfig } from '../vault/vault-under-test.ts';

/** Distinct ciphertexts: the plugin asks Vault only once for equal ones that are under way. */
const KNOWN = 64;
const SHOWN_FAILURES = 6;

/** Times are milliseconds of `performance.now()`. */
export type Call = {
  readonly kind: 'v1 encrypt' | 'v2 decrypt';
  readonly began: number;
  readonly ended: number;
  /** What the caller got instead of an answer. */
  readonly failure: string | undefined;
};

export type LoadOptions = {
  readonly socket: string;
  /** Callers with one call each at a time. */
  readonly decrypts: number;
  readonly encrypts: number;
  /** Between two calls of one caller. */
  readonly pauseMs: number;
  /** Of each call; default 3 s, kube-apiserver's own. */
  readonly deadlineMs?: number;
};

export type Load = AsyncDisposable & {
  readonly calls: readonly Call[];
  /** Answers that were not what was written; more than zero is the end of the world. */
  wrong(): number;
  /** By how much the test itself was late, at most, in milliseconds: nothing finer can be said. */
  ownDelayMs(): number;
  /** The first answer to a call that began after `since`; undefined where there is none yet. */
  firstGood(since: number): number | undefined;
  /** Ends the load, and all calls with it; then decrypts again what was encrypted, and tells how much. */
  stop(): Promise<number>;
};

type Sample = { readonly plaintext: Buffer; readonly decrypt: () => Promise<Uint8Array> };

/** A plugin on these addresses, with a token that outlives the test. */
export async function startOnVault(
  admin: VaultAdmin,
  addresses: readonly string[],
  dir: string,
  top: PluginOptions['config'] = {},
): Promise<Plugin> {
  const token = await admin.createToken({ policies: [POLICY], period: '1h' });
  const tokenFile = secretFile(dir, 'token', token);
  const config = { ...vaultConfig(addresses, { token: { tokenFile } }), ...top };
  return await startPlugin({ dir, config });
}

/** Starts once the plugin has encrypted what is to be decrypted. */
export async function startLoad(options: LoadOptions): Promise<Load> {
  const { socket, decrypts, encrypts, pauseMs, deadlineMs } = options;
  const client = createKmsClient(socket, deadlineMs);
  const known = await Promise.all(Array.from({ length: KNOWN }, () => knownSample(client)));
  const calls: Call[] = [];
  const written: Sample[] = [];
  const lag = monitorEventLoopDelay({ resolution: 5 });
  let wrong = 0;
  let turn = 0;

  const check = ({ plaintext }: Sample, answer: Uint8Array): void => {
    if (!plaintext.equals(answer)) wrong += 1;
  };
  const decrypt = async (): Promise<void> => {
    turn += 1;
    const sample = known[turn % known.length];
    if (sample !== undefined) check(sample, await sample.decrypt());
  };
  const encrypt = async (): Promise<void> => {
    const plaintext = randomBytes(32);
    const { cipher } = await client.v1.encrypt(plaintext);
    written.push({ plaintext, decrypt: async () => (await client.v1.decrypt(cipher)).plain });
  };
  const callersOf = (count: number, kind: Call['kind'], call: () => Promise<void>): Callers =>
    startCallers({ count, pauseMs }, async () => {
      const began = performance.now();
      const failure = await call().then(() => undefined, String);
      calls.push({ kind, began, ended: performance.now(), failure });
    });
  lag.enable();
  const callers = [
    callersOf(decrypts, 'v2 decrypt', decrypt),
    callersOf(encrypts, 'v1 encrypt', encrypt),
  ];
  const end = async (): Promise<void> => {
    await Promise.all(callers.map((some) => some.stop()));
    lag.disable();
  };
  return {
    calls,
    wrong: () => wrong,
    ownDelayMs: () => lag.max / 1e6,
    firstGood: (since) => firstGood(calls, since),
    async stop() {
      await end();
      await Promise.all(
        Array.from({ length: 16 }, async (_, first) => {
          for (let i = first; i < written.length; i += 16) {
            const sample = written[i];
            if (sample !== undefined) check(sample, await sample.decrypt());
          }
        }),
      );
      return written.length;
    },
    async [Symbol.asyncDispose]() {
      await end();
      client.close();
    },
  };
}

async function knownSample(client: KmsClient): Promise<Sample> {
  const plaintext = randomBytes(32);
  const sealed = await client.v2.encrypt(plaintext, 'known');
  return {
    plaintext,
    decrypt: async () => (await client.v2.decrypt({ ...sealed, uid: 'load' })).plaintext,
  };
}

function firstGood(calls: readonly Call[], since: number): number | undefined {
  const good = calls.filter(({ began, failure }) => began > since && failure === undefined);
  return good.length === 0 ? undefined : Math.min(...good.map(({ ended }) => ended));
}

/** What became of the calls; those that were under way at `endedAfter` count, as it befell them too. */
export function summary(calls: readonly Call[], endedAfter = 0) {
  const all = calls.filter(({ ended }) => ended >= endedAfter);
  const failures = all.flatMap(({ failure }) => (failure === undefined ? [] : [failure]));
  const longestMs = all.reduce((most, { began, ended }) => Math.max(most, ended - began), 0);
  return { served: all.length - failures.length, failed: failures.length, failures, longestMs };
}

/** What callers were told and how often, in one line. */
export function told(failures: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const failure of failures) {
    const short = failure.replace(/^Error: /, '').replace(/127\.0\.0\.1:\d+/g, 'ADDRESS');
    counts.set(short.slice(0, 160), (counts.get(short.slice(0, 160)) ?? 0) + 1);
  }
  const most = [...counts].sort(([, a], [, b]) => b - a).slice(0, SHOWN_FAILURES);
  return most.map(([text, count]) => `${count} x ${text}`).join('; ') || 'nothing';
}
