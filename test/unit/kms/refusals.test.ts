import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createRefusals } from '../../../src/kms/refusals.ts';
import { createLog } from '../../../src/observe/log.ts';
import { systemClock } from '../../../src/system/clock.ts';

it('refusals are logged once a minute for each kind, with how often they have been', () => {
  const lines: string[] = [];
  const log = createLog({ level: 'warn', format: 'json', write: (line) => void lines.push(line) });
  let now = 0;
  const refused = createRefusals(log, { ...systemClock, now: () => now });
  for (let i = 0; i < 1_000; i += 1) refused('calls');
  refused('encoding');
  now = 60_000;
  refused('calls');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).times),
    [1, 1, 1_000],
  );
});
