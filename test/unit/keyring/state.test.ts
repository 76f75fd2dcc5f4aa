import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { healthOf } from '../../../src/keyring/health.ts';
import {
  announce,
  hasBeenReady,
  type KeyringState,
  nextState,
  type Seen,
} from '../../../src/keyring/state.ts';
import { fail, type ProviderErrorKind, succeed } from '../../../src/providers/errors.ts';
import type { KeyDescription } from '../../../src/providers/provider.ts';

const description: KeyDescription = {
  path: ['fake', 'key'],
  versions: [{ version: 1, createdAt: 0 }],
  current: { version: 1, createdAt: 0 },
  minDecryptionVersion: 1,
  facts: { type: 'aes256-gcm', deletable: false, exportable: false },
};
const key = announce(description);
const outage = fail('unavailable', 'sealed').error;
const refusal = fail('denied', 'no policy').error;

const lost = fail('denied', 'restored').error;
const instead = {
  key: announce({ ...description, path: ['fake', 'other'] }),
  how: 'replaced',
} as const;

const states: Record<KeyringState['kind'], KeyringState> = {
  starting: { kind: 'starting', since: 0, why: undefined },
  ready: { kind: 'ready', key },
  outage: { kind: 'outage', key, since: 5, why: outage },
  refused: { kind: 'refused', key, wasReady: true, since: 5, why: refusal },
  lost: { kind: 'lost', key, instead, wasReady: true, since: 5, why: lost },
};

describe('what one look at the provider makes of each state', () => {
  const transient: ProviderErrorKind[] = ['unavailable', 'throttled', 'internal'];
  const definitive: ProviderErrorKind[] = ['denied', 'unauthenticated', 'invalid'];
  const table: [KeyringState['kind'], readonly ProviderErrorKind[], KeyringState['kind']][] = [
    ['starting', transient, 'starting'],
    ['ready', transient, 'outage'],
    ['outage', transient, 'outage'],
    ['refused', transient, 'refused'],
    ['lost', transient, 'lost'],
    ['lost', definitive, 'refused'],
    ['starting', definitive, 'refused'],
    ['ready', definitive, 'refused'],
    ['outage', definitive, 'refused'],
    ['refused', definitive, 'refused'],
  ];
  for (const [before, kinds, after] of table) {
    for (const kind of kinds) {
      it(`${before}, then ${kind}: ${after}`, () => {
        assert.equal(nextState(states[before], fail(kind, 'why'), 9).kind, after);
      });
    }
  }
  for (const before of Object.values(states)) {
    it(`${before.kind}, then a good answer: ready`, () => {
      assert.deepEqual(nextState(before, succeed(key), 9), { kind: 'ready', key });
    });
  }

  for (const before of ['starting', 'ready', 'outage', 'refused', 'lost'] as const) {
    it(`${before}, then another key: lost, with the announced one`, () => {
      const since = before === 'lost' ? 5 : 9;
      const after = nextState(
        states[before],
        { ok: false, error: lost, loss: { key, instead } },
        9,
      );
      const wasReady = before !== 'starting';
      assert.deepEqual(after, { kind: 'lost', key, instead, wasReady, since, why: lost });
    });
  }

  for (const kind of transient) {
    it(`an outage because the announced version is missing, then ${kind}: it is missing still`, () => {
      const missing = fail('behind', 'there is no version 2').error;
      const before: KeyringState = { kind: 'outage', key, since: 5, why: missing };
      assert.deepEqual(nextState(before, fail(kind, 'why'), 9), before);
      const again = nextState(before, fail('behind', 'still none'), 9);
      assert.equal(again.kind === 'outage' && again.why.message, 'still none');
    });
  }

  it('remembers when the trouble began', () => {
    assert.deepEqual(nextState(states.outage, fail('throttled', 'why'), 9), {
      kind: 'outage',
      key,
      since: 5,
      why: { kind: 'throttled', message: 'why' },
    });
  });
});

describe('whether the process has been ready', () => {
  const [works, away, no]: Seen[] = [
    succeed(key),
    fail('unavailable', 'why'),
    fail('denied', 'no'),
  ];
  const other: Seen = { ok: false, error: lost, loss: { key, instead } };
  const start: KeyringState = { kind: 'starting', key, since: 0, why: undefined };
  const rows: [string, readonly (Seen | undefined)[], boolean][] = [
    ['not reached', [away], false],
    ['refused from the start', [no], false],
    ['refused from the start, then not reached', [no, away, no], false],
    ['lost from the start', [other], false],
    ['lost from the start, then refused', [other, no, other], false],
    ['ready', [works], true],
    ['ready, then not reached', [works, away], true],
    ['ready, then refused', [works, no, away], true],
    ['ready, then lost and refused', [works, other, no, other], true],
    ['refused from the start, then ready and refused', [no, works, no], true],
  ];
  for (const [what, seen, expected] of rows) {
    it(`${what}: ${expected}`, () => {
      let state: KeyringState = start;
      for (const one of seen) if (one !== undefined) state = nextState(state, one, 9);
      assert.equal(hasBeenReady(state), expected);
    });
  }
});

describe('what Status says of each state', () => {
  it('starting: an error, since there is no key_id to announce', () => {
    assert.deepEqual(
      healthOf(states.starting, 9, undefined),
      fail('unavailable', 'the provider has not been reached yet'),
    );
  });

  it('ready: ok', () => {
    assert.deepEqual(
      healthOf(states.ready, 9, undefined),
      succeed({ healthz: 'ok', keyId: key.keyId }),
    );
  });

  it('outage: the last key_id, with what is wrong', () => {
    assert.deepEqual(
      healthOf(states.outage, 12_005, undefined),
      succeed({ healthz: 'provider unavailable for 12 s: sealed', keyId: key.keyId }),
    );
  });

  it('outage for longer than outageGrace: an error; exactly as long: not yet', () => {
    assert.equal(healthOf(states.outage, 12_005, 12_000).ok, true);
    assert.equal(healthOf(states.outage, 12_006, 12_000).ok, false);
  });

  it('lost: an error, since what is written now could be lost too', () => {
    assert.deepEqual(healthOf(states.lost, 9, undefined), { ok: false, error: lost });
  });

  it('refused: the refusal itself', () => {
    assert.deepEqual(healthOf(states.refused, 9, undefined), { ok: false, error: refusal });
  });
});
