import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createFileReader, READ_LIMIT_MS, readRegularFile } from '../../../src/system/read-file.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** Files whose reads end when the test says so, as on a file system that may stop answering. */
function reader() {
  const clock = createDrivenClock();
  const begun: string[] = [];
  const ends = new Map<string, (text: string) => void>();
  const { read, hanging } = createFileReader(clock, (path) => {
    begun.push(path);
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    ends.set(path, (text) => resolve(Buffer.from(text)));
    return promise;
  });
  const outcome = (path: string): Promise<string> =>
    read(path, 100).then(String, (error: Error) => error.message);
  const end = (path: string, text: string): void => ends.get(path)?.(text);
  return { clock, begun, outcome, end, hanging };
}

describe('a file system that does not answer', () => {
  it('holds a caller for two seconds, and the reader says which file hangs', async () => {
    const { clock, outcome, hanging, end } = reader();
    const waiting = outcome('/nfs/id');
    await clock.advance(READ_LIMIT_MS - 1);
    assert.deepEqual(hanging(), []);
    await clock.advance(1);
    assert.match(await waiting, /takes longer than 2 s/);
    assert.deepEqual(hanging(), ['/nfs/id']);
    end('/nfs/id', 'late');
    await settle();
    assert.deepEqual(hanging(), []);
    assert.equal(clock.pending, 0);
  });

  it('is not blamed where the process itself stood still, however long', async () => {
    const { clock, outcome, hanging, end } = reader();
    for (const stalls of [1, 3]) {
      const waiting = outcome('/etc/id');
      await settle();
      for (let stall = 0; stall < stalls; stall += 1) await clock.stall(READ_LIMIT_MS * 30);
      assert.deepEqual(hanging(), []);
      end('/etc/id', 'read');
      assert.equal(await waiting, 'read');
      assert.equal(clock.pending, 0);
    }
  });

  it('is asked once for each file, however many callers there are and come later', async () => {
    const { clock, begun, outcome, end } = reader();
    const early = Array.from({ length: 20 }, () => outcome('/nfs/id'));
    await clock.advance(READ_LIMIT_MS);
    await Promise.all(early);
    const late = outcome('/nfs/id');
    await settle();
    assert.deepEqual(begun, ['/nfs/id']);
    end('/nfs/id', 'it came back');
    assert.equal(await late, 'it came back');
  });

  it('leaves the other files readable while one hangs', async () => {
    const { clock, outcome, end } = reader();
    const hung = outcome('/nfs/id');
    for (const path of ['/etc/a', '/etc/b', '/etc/c']) {
      const read = outcome(path);
      await settle();
      end(path, path);
      assert.equal(await read, path);
    }
    await clock.advance(READ_LIMIT_MS);
    assert.match(
      await hung,
      /its file system does not answer, or this machine has no processor time/,
    );
  });

  it('takes two threads at most: a third file is told which ones hang, and is read after them', async () => {
    const { clock, begun, outcome, end } = reader();
    const files = ['/nfs/a', '/nfs/b', '/etc/c'].map(outcome);
    await clock.advance(READ_LIMIT_MS);
    const [, , third] = await Promise.all(files);
    assert.match(third ?? '', /reading \/nfs\/a and \/nfs\/b does not end/);
    assert.deepEqual(begun, ['/nfs/a', '/nfs/b']);
    const again = outcome('/etc/c');
    end('/nfs/a', '');
    await settle();
    end('/etc/c', 'c');
    assert.equal(await again, 'c');
  });

  it('is asked again for a file whose read has ended', async () => {
    const { begun, outcome, end } = reader();
    for (const content of ['first', 'second']) {
      const read = outcome('/etc/a');
      await settle();
      end('/etc/a', content);
      assert.equal(await read, content);
    }
    assert.equal(begun.length, 2);
  });
});

describe('a file of any size', () => {
  for (const bytes of [0, 1, 4_095, 4_096, 4_097, 12_288, 12_289, 300_000]) {
    it(`is read whole: ${bytes} bytes, and refused where one less may be read`, async (t) => {
      const path = join(temporaryFolder(t), 'file');
      const content = randomBytes(bytes);
      writeFileSync(path, content);
      for (const most of [bytes, bytes + 1, 1 << 20])
        assert.deepEqual(await readRegularFile(path, most), content);
      if (bytes === 0) return;
      await assert.rejects(readRegularFile(path, bytes - 1), {
        message: `it is larger than ${bytes - 1} bytes`,
      });
    });
  }
});
