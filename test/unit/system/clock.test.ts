import assert from 'node:assert/strict';
import { it } from 'node:test';
import { systemClock } from '../../../src/system/clock.ts';

it('a timer for a time that has passed rings in the next turn, and Node has nothing to say of it', async (t) => {
  const warnings: string[] = [];
  const onWarning = ({ name }: Error): void => void warnings.push(name);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  for (const ms of [-18, -0.5, 0]) {
    await new Promise<void>((rings) => void systemClock.setTimer(ms, rings));
  }
  assert.deepEqual(warnings, []);
});
