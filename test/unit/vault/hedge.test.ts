import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type AddressesUnderTest,
  addressesUnderTest,
  DECRYPT,
  ENCRYPT,
  OK,
  patient,
  UNREACHABLE,
} from './addresses-under-test.ts';

describe('a decrypt that is slower than nearly all before it', () => {
  async function warm(hedge: boolean): Promise<AddressesUnderTest> {
    const test = addressesUnderTest({ hedge });
    for (let i = 0; i < 25; i += 1) await test.addresses.request(DECRYPT, patient());
    test.asked.length = 0;
    test.answers.set('a', 'hang');
    return test;
  }

  it('is asked of a second server too, whose answer counts', async () => {
    const { addresses, asked, clock } = await warm(true);
    const answered = addresses.request(DECRYPT, patient());
    await clock.advance(20);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a d', 'b d']);
    assert.equal(clock.pending, 0);
  });

  it('shows in the end that the first hangs, which is then asked no more', async () => {
    const { addresses, asked, clock } = await warm(true);
    for (let i = 0; i < 3; i += 1) {
      const answered = addresses.request(DECRYPT, patient());
      await clock.advance(20);
      assert.deepEqual(await answered, OK);
    }
    asked.length = 0;
    assert.deepEqual(await addresses.request(DECRYPT, patient()), OK);
    assert.deepEqual(asked, ['b d']);
  });

  it('waits for the first where hedging is off, and an encrypt always does', async () => {
    for (const [hedge, request] of [
      [false, DECRYPT],
      [true, ENCRYPT],
    ] as const) {
      const { addresses, asked, clock } = await warm(hedge);
      const answered = addresses.request(request, patient());
      await clock.advance(900);
      assert.equal(asked.length, 1);
      await clock.advance(100);
      assert.deepEqual(await answered, OK);
    }
  });

  it('is answered by the first where the second fails', async () => {
    const { addresses, answers, asked, clock } = await warm(true);
    answers.set('a', { afterMs: 50 });
    answers.set('b', UNREACHABLE);
    const answered = addresses.request(DECRYPT, patient());
    await clock.advance(50);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a d', 'b d'], 'nobody else is asked');
  });

  it('is answered by the second where the first fails meanwhile', async () => {
    const { addresses, answers, asked, clock } = await warm(true);
    answers.set('b', { afterMs: 990 });
    const answered = addresses.request(DECRYPT, patient());
    await clock.advance(1_010);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a d', 'b d'], 'the second is asked once');
  });
});
