import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Circuit, createCircuit } from '../../../src/providers/vault/circuit.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';

function underTest(): { circuit: Circuit; clock: DrivenClock; fail: () => void } {
  const clock = createDrivenClock(1_000_000);
  const circuit = createCircuit(clock);
  /** A request that fails at once. */
  const fail = (): void => {
    circuit.began();
    circuit.failed(clock.now());
  };
  return { circuit, clock, fail };
}

describe('a circuit', () => {
  it('lets requests through until one has failed', () => {
    const { circuit, fail } = underTest();
    assert.deepEqual([circuit.closed(), circuit.permits(), circuit.openUntil()], [true, true, 0]);
    fail();
    assert.deepEqual([circuit.closed(), circuit.permits()], [false, false]);
  });

  it('opens for twice as long each time that what tries it fails, up to half a minute', async () => {
    const { circuit, clock, fail } = underTest();
    const waits: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      fail();
      waits.push(circuit.openUntil() - clock.now());
      await clock.advance(circuit.openUntil() - clock.now() - 1);
      assert.equal(circuit.permits(), false);
      await clock.advance(1);
      assert.equal(circuit.permits(), true);
    }
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('counts the failure of what tries it, however long that takes', async () => {
    const { circuit, clock, fail } = underTest();
    fail();
    await clock.advance(1_000);
    const began = clock.now();
    circuit.began();
    await clock.advance(700);
    circuit.failed(began);
    assert.equal(circuit.openUntil() - clock.now(), 2_000);
  });

  it('tells what failed at once from what hung', async () => {
    const { circuit, clock, fail } = underTest();
    const began = clock.now();
    await clock.advance(300);
    circuit.failed(began);
    assert.equal(circuit.failsFast(), false);
    fail();
    assert.equal(circuit.failsFast(), true, 'also while it is to be left alone');
  });

  it('is tried at once, and waits anew, where another server has come back', async () => {
    const { circuit, clock, fail } = underTest();
    for (let i = 0; i < 5; i += 1) {
      fail();
      await clock.advance(circuit.openUntil() - clock.now());
    }
    fail();
    circuit.halfOpen();
    assert.deepEqual([circuit.closed(), circuit.permits()], [false, true]);
    fail();
    assert.equal(circuit.openUntil() - clock.now(), 2_000);
  });

  it('is tried by one request at a time', async () => {
    const { circuit, clock, fail } = underTest();
    fail();
    await clock.advance(1_000);
    circuit.began();
    assert.equal(circuit.permits(), false);
  });

  it('counts requests that were under way together as one failure', async () => {
    const { circuit, clock } = underTest();
    const began = clock.now();
    for (let i = 0; i < 16; i += 1) circuit.began();
    await clock.advance(1_000);
    for (let i = 0; i < 16; i += 1) {
      circuit.failed(began);
      await clock.advance(50);
    }
    assert.ok(circuit.openUntil() <= began + 2_000);
  });

  it('counts requests that are sent while it is open, for want of a better one, as one failure', async () => {
    const { circuit, clock, fail } = underTest();
    for (let i = 0; i < 10; i += 1) {
      fail();
      await clock.advance(50);
    }
    assert.ok(circuit.openUntil() - clock.now() <= 1_000);
    await clock.advance(1_000);
    fail();
    assert.equal(circuit.openUntil() - clock.now(), 2_000, 'and it is longer away than it was');
  });

  it('forgets all failures with the first success', async () => {
    const { circuit, clock, fail } = underTest();
    fail();
    await clock.advance(1_000);
    fail();
    circuit.succeeded();
    assert.deepEqual([circuit.closed(), circuit.permits(), circuit.openUntil()], [true, true, 0]);
    fail();
    assert.equal(circuit.openUntil() - clock.now(), 1_000);
  });
});
