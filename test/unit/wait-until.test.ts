/** Every wait of a test ends by itself, with a sentence that says what was waited for. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inTime, waitUntil } from '../servers/wait-until.ts';

const SHORT_MS = 30;
const LONG_MS = 20_000;
const never = new Promise<never>(() => undefined);

describe('waiting until', () => {
  const rows: readonly (readonly [string, () => boolean | Promise<boolean>, unknown])[] = [
    ['what never holds', () => false, 'it answered "not yet"'],
    ['what always rejects', () => Promise.reject(new Error('away')), new Error('away')],
    [
      'what throws',
      () => {
        throw new Error('broken');
      },
      new Error('broken'),
    ],
  ];
  for (const [what, holds, cause] of rows)
    it(`${what} ends with the last reason`, async () => {
      await assert.rejects(waitUntil('the state', SHORT_MS, holds, 5), {
        message: `the state: not within ${SHORT_MS} ms`,
        cause,
      });
    });

  it('a question that is never answered ends, too', async () => {
    const wait = waitUntil('the answer', SHORT_MS, () => never, 5);
    await assert.rejects(wait, /^Error: the answer: not within 30 ms$/);
  });

  it('what holds at the third question resolves then', async () => {
    let asked = 0;
    await waitUntil(
      'the third',
      LONG_MS,
      () => {
        asked += 1;
        return asked === 3;
      },
      1,
    );
    assert.equal(asked, 3);
  });
});

describe('work with a limit', () => {
  it('gives what it gives, or its own failure', async () => {
    assert.equal(await inTime('it', LONG_MS, Promise.resolve(7)), 7);
    await assert.rejects(inTime('it', LONG_MS, Promise.reject(new Error('own'))), /own/);
  });

  it('is named where it takes too long', async () => {
    await assert.rejects(inTime('the end', SHORT_MS, never), /^Error: the end: not within 30 ms$/);
  });
});
