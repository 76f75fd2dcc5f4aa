import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createSuspicion } from '../../../src/keyring/suspicion.ts';
import { createDrivenClock } from '../driven-clock.ts';

it('a failure is worth a look at once, and ever fewer of those that follow it', async () => {
  const clock = createDrivenClock();
  const suspicion = createSuspicion(clock);
  const looks: number[] = [];
  for (let ms = 0; ms < 120_000; ms += 50) {
    if (suspicion.worthALook('denied')) looks.push(ms);
    await clock.advance(50);
  }
  assert.deepEqual(looks, [0, 250, 750, 1_750, 3_750, 7_750, 15_750, 31_750, 61_750, 91_750]);
});

it('an outage is looked for every two seconds at least, however often it was none', async () => {
  const clock = createDrivenClock();
  const suspicion = createSuspicion(clock);
  let last = 0;
  for (let ms = 0; ms < 60_000; ms += 50) {
    if (suspicion.worthALook('unavailable')) last = ms;
    assert.ok(ms - last <= 2_000);
    await clock.advance(50);
  }
});

it('failures of another kind are news of their own', () => {
  const suspicion = createSuspicion(createDrivenClock());
  assert.equal(suspicion.worthALook('denied'), true);
  assert.equal(suspicion.worthALook('denied'), false);
  assert.equal(suspicion.worthALook('unavailable'), true);
});

it('a look that found something makes the next failure news again, and so does a long silence', async () => {
  const clock = createDrivenClock();
  const suspicion = createSuspicion(clock);
  for (let i = 0; i < 3; i += 1) {
    suspicion.worthALook('denied');
    await clock.advance(2_000);
  }
  suspicion.clear();
  assert.equal(suspicion.worthALook('denied'), true);
  await clock.advance(60_000);
  assert.equal(suspicion.worthALook('denied'), true);
  await clock.advance(250);
  assert.equal(suspicion.worthALook('denied'), true, 'the wait begins anew');
});
