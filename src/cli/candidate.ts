/** What a reload does with a configuration: tries its keyring, and takes it or says why not. */
import { isDeepStrictEqual } from 'node:util';
import type { ResolvedConfig } from '../config/environment.ts';
import type { KeyId } from '../keyring/key-id.ts';
import { acknowledgedInUse } from '../keyring/lost-key.ts';
import type { Sample } from '../keyring/self-test.ts';
import { type AnnouncedKey, hasBeenReady, type KeyringState, knownKey } from '../keyring/state.ts';
import { type KeyringSwap, mayReplace } from '../keyring/swap.ts';
import type { Log } from '../observe/log.ts';
import { createLiveLog } from './live-log.ts';
import {
  type BuildContext,
  buildKeyring,
  isAcknowledged,
  keepsProviders,
  keepsWriter,
  removedReaders,
  sameFileIn,
  sameKeyring,
  sameProviders,
  writerOf,
} from './providers.ts';
import type { ReloaderOptions } from './reload.ts';
import { isOvertaken, tryOut } from './trial.ts';

export type CandidateContext = BuildContext & {
  readonly swap: KeyringSwap;
  /** The configuration that the sockets were opened with. */
  readonly started: ResolvedConfig;
  readonly current: () => ResolvedConfig;
  /** Makes everything hold that is not the keyring's. */
  readonly apply: (config: ResolvedConfig) => void;
};

/** Tries configurations beside the one in use. */
export function createAttempt(context: CandidateContext): ReloaderOptions['attempt'] {
  const { swap, started, current, apply } = context;
  const attempt: ReloaderOptions['attempt'] = async (config, evenIfSame, signal) => {
    const warnings = [
      ...restartWarnings(started, config),
      ...removedReaders(config, current()).map(
        (name) =>
          `${name} is not in providers any more: what its key has encrypted cannot be decrypted, unless another provider has the same key`,
      ),
    ];
    const same = sameKeyring(config, current());
    if (!evenIfSame && same) {
      warnings.push(...acknowledgedIn(config, swap.keyring.state()));
      return {
        ok: true,
        warnings,
        take: async () => apply(config),
        discard: async () => undefined,
      };
    }
    const { clock, log } = context;
    // Its lines must not be taken for those of the keyring in use.
    const live = createLiveLog(log.with({ trial: true }));
    const inUse = (): KeyringState => swap.keyring.state();
    const acknowledged = (lost: KeyId): boolean =>
      isAcknowledged(config, lost) || context.isAcknowledged(lost);
    const keeps = keepsWriter(config, current());
    let taken = false;
    const announcing = async (key: AnnouncedKey, sample: Sample | undefined): Promise<void> => {
      if (taken) await context.announcing?.(key, sample, config);
    };
    const built = buildKeyring(config, {
      ...{ ...context, log: live.log, isAcknowledged: acknowledged, announcing },
      // What one that works has announced, it says itself.
      remembered: (of) => (hasBeenReady(inUse()) ? undefined : context.remembered?.(of)),
    });
    const sameWriter = isDeepStrictEqual(writerOf(config), writerOf(current()));
    const tried = await tryOut({
      ...{ built, inUse, clock, signal, sameWriter },
      sample: swap.keyring.sample(),
      keepsWriter: keeps,
      inMemory: (provider) => {
        const same = sameFileIn(current(), config, provider);
        return same === undefined ? undefined : swap.keyring.loaded(same)[0];
      },
      isAcknowledged: acknowledged,
    });
    const discard = (): Promise<void> => built.keyring.stop();
    if (signal.aborted || !mayReplace(inUse(), tried, sameWriter)) {
      await discard();
      const why = tried.ok ? 'a newer one is wanted' : tried.error.message;
      // Trouble with the provider may be the very reason for the change of these.
      return same && !isDeepStrictEqual(config, current())
        ? { ok: false, why: `${why}; ${AT_ONCE}`, take: async () => apply(config) }
        : { ok: false, why };
    }
    if (tried.ok && isOvertaken(inUse(), built.keyring.state())) {
      await discard();
      log.info?.('reload begins again: the key was rotated meanwhile');
      return await attempt(config, evenIfSame, signal);
    }
    const isProved = keeps || hasBeenReady(inUse()) || context.remembered?.(config) !== undefined;
    if (!isProved) warnings.push(UNPROVED);
    warnings.push(...acknowledgedIn(config, built.keyring.state()));
    if (tried.ok) warnings.push(...tried.value.warnings);
    else warnings.push(`taken though not ready, as none was before: ${tried.error.message}`);
    return {
      ok: true,
      warnings,
      discard,
      async take() {
        taken = true;
        const [before, next] = [knownKey(inUse()), knownKey(built.keyring.state())];
        if (next !== undefined && next.keyId !== before?.keyId)
          await announcing(next, built.keyring.sample());
        // In an outage nobody else could be asked for it again.
        const isKept =
          sameProviders(config, current()) ||
          (inUse().kind === 'outage' && keepsProviders(config, current()));
        apply(config);
        live.become(log);
        swap.replace(built.keyring, isKept).catch((error: unknown) => reportLeft(log, error));
      },
    };
  };
  return attempt;
}

/** A key that works may be replaced unnoticed where its loss is acknowledged, as after its backup was found. */
function acknowledgedIn(config: ResolvedConfig, state: KeyringState): readonly string[] {
  if (state.kind !== 'ready' || !isAcknowledged(config, state.key.keyId)) return [];
  return [acknowledgedInUse(state.key.keyId)];
}

const UNPROVED =
  'not proved that it decrypts what is in etcd: this node has had no key yet whose ciphertexts could be tried';
const AT_ONCE = 'what has changed in log and health holds all the same';

/** Fields that the sockets depend on, which stay as they are while the process lives. */
function restartWarnings(started: ResolvedConfig, config: ResolvedConfig): readonly string[] {
  const changed = (['listen', 'admin'] as const).flatMap((section) => {
    const [before, after]: readonly Readonly<Record<string, unknown>>[] = [
      started[section],
      config[section],
    ];
    return [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])]
      .filter((field) => !isDeepStrictEqual(before?.[field], after?.[field]))
      .map((field) => `${section}.${field}`);
  });
  return changed.length === 0
    ? []
    : [`${changed.join(', ')} changed: restart to make it hold; all else holds now`];
}

function reportLeft(log: Log, error: unknown): void {
  const name = error instanceof Error ? error.name : typeof error;
  log.warn?.('the keyring that was replaced did not stop cleanly', { error: name });
}
