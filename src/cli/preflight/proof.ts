/** Whether a new process could take the place of the one that runs, proved by doing what it would do. */
import { randomBytes } from 'node:crypto';
import type { ResolvedConfig } from '../../config/environment.ts';
import { keyId } from '../../keyring/key-id.ts';
import { knownKey } from '../../keyring/state.ts';
import type { KeyDescription } from '../../providers/provider.ts';
import type { Clock } from '../../system/clock.ts';
import { withLimit } from '../../system/within.ts';
import { type BuildContext, type Built, buildKeyring } from '../providers.ts';
import { tryOut } from '../trial.ts';

export type Step = {
  readonly step: 'configuration' | 'socket' | 'keys' | 'sample' | 'running process';
  readonly ok: boolean;
  /** What was seen, or why it is not so; never a secret. */
  readonly what: string;
};

/** What the process that runs has, as far as it says so. */
export type RunningKeys = {
  /** Every key version that it has loaded or announced. */
  readonly keyIds: readonly string[];
  /** Why there may be more; undefined where that is all. */
  readonly incomplete: string | undefined;
};

export type ProofContext = BuildContext & {
  /** Bounds all steps together; giving the token back has a time of its own. */
  readonly limitMs: number;
  /** Whether it is known that a process runs. */
  readonly runs: boolean;
  /** Ends it early; the token is given back then, too. */
  readonly signal: AbortSignal;
};

/** Half of the time that kube-apiserver gives a call by default. */
const SLOW_MS = 1_500;
const SLOW =
  '; kube-apiserver waits 3 s by default: raise timeout of the kms provider in its EncryptionConfiguration';
const SAMPLE_BYTES = 32;
const INTERRUPTED = 'a signal ended it before';

/**
 * Builds the keyring of a configuration, logs in, describes every key, encrypts and decrypts a sample,
 * and compares key versions with those of the running process. The first step that fails is the last.
 * Nothing of it is left at the provider.
 */
export async function prove(
  config: ResolvedConfig,
  running: () => Promise<RunningKeys | undefined>,
  context: ProofContext,
): Promise<readonly Step[]> {
  const once = worksOnce(config);
  if (once !== undefined) return [{ step: 'keys', ok: false, what: once }];
  const built = buildKeyring(config, context);
  try {
    const steps = await proveKeyring(built, running, context);
    return context.signal.aborted
      ? steps.map((step) => (step.ok ? step : { ...step, what: INTERRUPTED }))
      : steps;
  } finally {
    await built.keyring.stop();
  }
}

async function proveKeyring(
  built: Built,
  running: () => Promise<RunningKeys | undefined>,
  { clock, limitMs, isAcknowledged, runs, signal: lifetime }: ProofContext,
): Promise<readonly Step[]> {
  const { keyring, decryptOnly } = built;
  return await withLimit(clock, limitMs, lifetime, async (signal) => {
    const inUse = { kind: 'starting', since: clock.now(), why: undefined } as const;
    const tried = await tryOut({
      ...{ built, inUse: () => inUse, sameWriter: false, isAcknowledged, clock, signal },
      // What runs has its keys in a process of its own, and says which they are.
      inMemory: () => undefined,
      sample: undefined,
      keepsWriter: false,
    });
    if (!tried.ok) return [{ step: 'keys', ok: false, what: tried.error.message }];
    // A provider that only decrypts may be away for a reload, but not for a process that begins with it.
    const [away] = tried.value.warnings;
    if (away !== undefined) return [{ step: 'keys', ok: false, what: away }];
    const descriptions: KeyDescription[] = [];
    const announced = knownKey(keyring.state());
    if (announced !== undefined) descriptions.push(announced.description);
    for (const provider of decryptOnly) {
      const described = await provider.describe(signal);
      if (!described.ok) {
        return [{ step: 'keys', ok: false, what: `${provider.name}: ${described.error.message}` }];
      }
      descriptions.push(described.value);
    }
    const keys: Step = { step: 'keys', ok: true, what: descriptions.map(described).join('; ') };
    const sample = await proveSample(built, clock, signal);
    if (!sample.ok) return [keys, sample];
    return [keys, sample, compare(descriptions, await running(), runs)];
  });
}

async function proveSample({ keyring }: Built, clock: Clock, signal: AbortSignal): Promise<Step> {
  const plaintext = randomBytes(SAMPLE_BYTES);
  const began = clock.now();
  const encrypted = await keyring.encrypt(plaintext, 'sample', signal);
  if (!encrypted.ok) return { step: 'sample', ok: false, what: encrypted.error.message };
  // As an Encrypt of KMS v2: the ciphertext was decrypted again before it was answered.
  const took = Math.round(clock.now() - began);
  const { ciphertext } = encrypted.value;
  const decrypted = await keyring.decrypt({ ciphertext, purpose: 'sample' }, signal);
  if (!decrypted.ok) return { step: 'sample', ok: false, what: decrypted.error.message };
  const same = plaintext.equals(decrypted.value);
  const what = same
    ? `encrypted and decrypted under ${encrypted.value.keyId} in ${took} ms${took < SLOW_MS ? '' : SLOW}`
    : 'another text came back from decrypting than was encrypted';
  return { step: 'sample', ok: same, what };
}

const SILENT =
  'it does not say which keys it has, so it may be the only one that has them: its admin endpoint does not answer where this configuration has it, and its Status has no key';

/**
 * Whether every key version of the running process is among those that are described. Where it is
 * known that one `runs`, its silence is no proof.
 */
export function compare(
  descriptions: readonly KeyDescription[],
  running: RunningKeys | undefined,
  runs: boolean,
): Step {
  const step = 'running process';
  if (running === undefined)
    return runs
      ? { step, ok: false, what: SILENT }
      : { step, ok: true, what: 'none answers: there is nothing to compare with' };
  const here = new Set<string>(
    descriptions.flatMap(({ path, versions, minDecryptionVersion }) =>
      versions
        .filter(({ version }) => version >= minDecryptionVersion)
        .map((version) => keyId(path, version)),
    ),
  );
  const lost = running.keyIds.filter((id) => !here.has(id));
  if (lost.length > 0) {
    const what = `it has ${lost.join(', ')}, and a new process would not: was another key, an older copy of the keyring or a standby of Vault that is behind put in its place?`;
    return { step, ok: false, what };
  }
  const limits = running.incomplete === undefined ? '' : `; not compared: ${running.incomplete}`;
  return { step, ok: true, what: `all ${running.keyIds.length} of its key versions${limits}` };
}

function described({ path, versions, current }: KeyDescription): string {
  const count = versions.length === 1 ? '1 version' : `${versions.length} versions`;
  return `${path.join(' ')}: ${count}, encrypting with v${current.version}`;
}

/** What would be used up by proving it, so that the process that follows could not use it. */
function worksOnce({ providers }: ResolvedConfig): string | undefined {
  const wrapped = providers.find(
    (provider) => 'vault' in provider && provider.vault.auth.appRole?.secretIDWrapped,
  );
  return wrapped === undefined
    ? undefined
    : `${wrapped.name}: secretIDWrapped names a wrapping token, which works once: proving it would use it up`;
}
