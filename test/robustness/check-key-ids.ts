/** key_id never goes back, is the one that Status announces, and is the same on every node. Pure. */
import { type Call, nameOf, type Violation } from './calls.ts';
import type { NodeIndex } from './history.ts';
import type { Trouble } from './reasons.ts';

/**
 * Status and Encrypt read one register, which only grows: no call may show an older version than a
 * call that had ended before it began. So what Encrypt used lies between what Status announced before
 * and after it. The seed of a v2 envelope is kube-apiserver's own, and of its last Status.
 */
export function checkKeyIds(calls: readonly Call[]): readonly Violation[] {
  const found: Violation[] = [];
  const byVersion = new Map<number, string>();
  const byKeyId = new Map<string, number>();
  for (const call of calls) {
    const { keyId, version, code, t } = call.end;
    if (code !== 'OK' || keyId === undefined || version === undefined) continue;
    if ((byVersion.get(version) ?? keyId) !== keyId)
      found.push({ t, sentence: `two key_ids for version ${version}: ${nameOf(call)}` });
    if ((byKeyId.get(keyId) ?? version) !== version)
      found.push({ t, sentence: `one key_id for two versions: ${nameOf(call)}` });
    byVersion.set(version, keyId);
    byKeyId.set(keyId, version);
  }
  for (const node of new Set(calls.map(({ begin }) => begin.node)))
    found.push(...goesBack(calls.filter(({ begin }) => begin.node === node)));
  return found;
}

/** By then every plugin that can use Vault announces what another one announces; it reads the key every 2 s. */
const CONVERGENCE_MS = 10_000;

/** A version that one plugin announces is soon announced by all. */
export function checkConvergence(
  calls: readonly Call[],
  troublesOf: ReadonlyMap<NodeIndex, readonly Trouble[]>,
): readonly Violation[] {
  const found: Violation[] = [];
  let [newest, since] = [0, 0];
  for (const call of calls) {
    const { begin, end } = call;
    if (begin.op !== 'status' || end.version === undefined) continue;
    if (end.version > newest) [newest, since] = [end.version, end.t];
    if (end.version === newest || begin.t - since < CONVERGENCE_MS) continue;
    const troubles = troublesOf.get(begin.node) ?? [];
    if (troubles.some(({ from, until }) => from <= begin.t && until >= since)) continue;
    const sentence = `version ${newest} has been announced by another plugin for ${Math.round(begin.t - since)} ms: ${nameOf(call)}`;
    found.push({ t: end.t, sentence });
  }
  return found;
}

/** Of one node. */
function goesBack(calls: readonly Call[]): readonly Violation[] {
  const found: Violation[] = [];
  const shown = calls.filter(showsVersion);
  const byBegin = [...shown].sort((a, b) => a.begin.t - b.begin.t);
  let ended = 0;
  let newest: Call | undefined;
  for (const call of byBegin) {
    for (; ended < shown.length; ended += 1) {
      const before = shown[ended];
      if (before === undefined || before.end.t >= call.begin.t) break;
      if ((before.end.version ?? 0) > (newest?.end.version ?? 0)) newest = before;
    }
    if (newest !== undefined && (call.end.version ?? 0) < (newest.end.version ?? 0)) {
      const sentence = `version ${call.end.version} after version ${newest.end.version} of call ${newest.begin.id}: ${nameOf(call)}`;
      found.push({ t: call.end.t, sentence });
    }
  }
  return found;
}

function showsVersion({ begin, end }: Call): boolean {
  if (end.code !== 'OK' || end.version === undefined) return false;
  if (begin.op === 'status') return true;
  return begin.op === 'write' && !(begin.api === 'v2' && begin.through === 'envelope');
}
