/**
 * Secret ids out of wrapping tokens. A wrapping token works once, so what was in it is kept in memory
 * for the life of the process: for the next login, for a reload, and where the file is gone by then.
 * https://developer.hashicorp.com/vault/api-docs/system/wrapping-unwrap
 */
import { createHash } from 'node:crypto';
import type { Log } from '../../../observe/log.ts';
import { unlessAborted } from '../../../system/within.ts';
import { fail, type Result, succeed } from '../../errors.ts';
import type { VaultReply, VaultRequest } from '../reply.ts';
import { mayBeDone } from '../verdict.ts';
import { LATE_LIMIT_MS, refusedLogin } from './credentials-login.ts';
import type { Asking, LoginFailure } from './login.ts';

type Opened = { readonly ok: true; readonly value: string } | LoginFailure;

export type UnwrappedSecretIDs = {
  /**
   * The secret id in a wrapping token; the one that was opened before where this one opens no more.
   *
   * @param identity who logs in with it
   * @param place the file of the wrapping token, for the sentence of an error
   */
  open(identity: string, place: string, wrapping: string, asking: Asking): Promise<Opened>;
  /** The secret id that was opened last, if any. */
  last(identity: string): string | undefined;
};

type Entry = {
  secretID: string | undefined;
  /** Fingerprints of wrapping tokens: of the one that gave it, and of one that gave nothing. */
  openedBy: string | undefined;
  refused: string | undefined;
  /** The token that this process has opened, and that wrapped something else. */
  ofNothing: string | undefined;
  /** The token of a try of ours that ended without an answer: it may have been used by that. */
  unanswered: string | undefined;
  opening: { readonly wrapping: string; readonly outcome: Promise<Opened> } | undefined;
};

const WHAT = 'unwrapping the secret id';
const THEFT = 'unless it has expired, somebody else has used it: look for theft';

/** Nothing is opened yet. */
export function createUnwrappedSecretIDs(): UnwrappedSecretIDs {
  const entries = new Map<string, Entry>();

  const entryOf = (identity: string): Entry => {
    const known = entries.get(identity);
    if (known !== undefined) return known;
    const entry: Entry = {
      secretID: undefined,
      openedBy: undefined,
      refused: undefined,
      ofNothing: undefined,
      unanswered: undefined,
      opening: undefined,
    };
    entries.set(identity, entry);
    return entry;
  };

  const learn = (
    entry: Entry,
    wrapping: string,
    place: string,
    replied: Result<VaultReply>,
    log: Log,
  ): Opened => {
    const opened = replied.ok ? secretIDIn(place, replied.value) : replied;
    if (opened.ok) {
      entry.secretID = opened.value;
      entry.openedBy = wrapping;
      return opened;
    }
    if (opened.error.kind !== 'denied') {
      if (mayBeDone(replied)) entry.unanswered = wrapping;
      return opened;
    }
    entry.refused = wrapping;
    if (replied.ok && replied.value.kind === 'answer') entry.ofNothing = wrapping;
    if (entry.secretID !== undefined) {
      const theft = entry.ofNothing === wrapping ? '' : `: ${THEFT}`;
      const why = `${opened.error.message}${theft}; the secret id that was opened before is used`;
      log.warn?.('wrapping token not opened', { why });
      return succeed(entry.secretID);
    }
    return entry.unanswered === wrapping
      ? fail(
          'denied',
          `${WHAT}: Vault does not open the wrapping token in ${place}: an earlier try of this plugin, which got no answer, may have used it: write a new one to the file, and see in Vault's audit log that nobody else has used this one`,
        )
      : opened;
  };

  /** Whatever its callers do, an answer counts: the secret id in it comes only once. */
  const start = (
    entry: Entry,
    wrapping: string,
    token: string,
    place: string,
    { send, signal, log }: Asking,
  ): Promise<Opened> => {
    let later: Promise<Result<VaultReply>> | undefined;
    const request: VaultRequest = {
      method: 'POST',
      path: 'sys/wrapping/unwrap',
      token,
      what: WHAT,
      holds: 'data',
      once: true,
      leaves: {
        limitMs: LATE_LIMIT_MS,
        givenUp: (outcome) => {
          later = outcome;
        },
      },
    };
    const outcome = send(request, signal)
      .then((replied) => later ?? replied)
      .then((replied) => learn(entry, wrapping, place, replied, log))
      .finally(() => {
        entry.opening = undefined;
      });
    entry.opening = { wrapping, outcome };
    return outcome;
  };

  return {
    async open(identity, place, token, asking) {
      const entry = entryOf(identity);
      const wrapping = createHash('sha256').update(token).digest('base64');
      const { secretID, openedBy, refused } = entry;
      if (secretID !== undefined && (openedBy === wrapping || refused === wrapping))
        return succeed(secretID);
      // It was used up by this process, so Vault would answer as if somebody else had been there.
      if (entry.ofNothing === wrapping) return noSecretID(place);
      const underWay = entry.opening?.wrapping === wrapping ? entry.opening.outcome : undefined;
      const opening = underWay ?? start(entry, wrapping, token, place, asking);
      return await unlessAborted<Opened>(opening, asking.signal, () =>
        fail('unavailable', `${WHAT}: Vault has not answered yet`),
      );
    },
    last: (identity) => entries.get(identity)?.secretID,
  };
}

function secretIDIn(place: string, reply: VaultReply): Opened {
  if (reply.kind === 'refusal') return refusedLogin('unwrap', 'sys/wrapping/unwrap', reply);
  const { data } = reply.body;
  const secretID =
    typeof data === 'object' && data !== null
      ? (data as Record<string, unknown>)['secret_id']
      : undefined;
  return typeof secretID === 'string' ? succeed(secretID) : noSecretID(place);
}

function noSecretID(place: string): Opened {
  return fail(
    'denied',
    `${WHAT}: what the token in ${place} wrapped is no secret id: write the wrapping token of a new secret id to the file`,
  );
}
