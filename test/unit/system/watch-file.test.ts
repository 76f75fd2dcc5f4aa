import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { systemClock } from '../../../src/system/clock.ts';
import { watchFile } from '../../../src/system/watch-file.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

type Watching = { readonly changed: Promise<void>; readonly lost: Promise<string>; times: number };

/** Each promise resolves at the first call back. */
function watching(t: TestContext, file: string, clock = systemClock): Watching {
  const changed = Promise.withResolvers<void>();
  const lost = Promise.withResolvers<string>();
  const seen: Watching = { changed: changed.promise, lost: lost.promise, times: 0 };
  const watch = watchFile(file, {
    clock,
    settleMs: 10,
    changed() {
      seen.times += 1;
      changed.resolve();
    },
    lost: lost.resolve,
  });
  t.after(() => watch.stop());
  return seen;
}

describe('a watch on a file', () => {
  for (const [what, change] of [
    ['written in place', (file: string) => writeFileSync(file, 'new')],
    [
      'replaced by another',
      (file: string) => {
        writeFileSync(`${file}.new`, 'new');
        renameSync(`${file}.new`, file);
      },
    ],
    ['removed', (file: string) => rmSync(file)],
  ] as const) {
    for (const when of ['before the watch has begun', 'later'] as const) {
      it(`notices that it was ${what} ${when}`, async (t) => {
        const file = join(temporaryFolder(t), 'config.yaml');
        writeFileSync(file, 'old');
        const seen = watching(t, file);
        if (when === 'later') await seen.changed;
        const before = seen.times;
        change(file);
        await waitUntil('the change', 5_000, () => seen.times > before, 5);
      });
    }
  }

  it('notices that the kubelet swapped ..data, which alone changes', async (t) => {
    const dir = temporaryFolder(t);
    for (const version of ['..1', '..2']) {
      mkdirSync(join(dir, version));
      writeFileSync(join(dir, version, 'config.yaml'), version);
    }
    symlinkSync('..1', join(dir, '..data'));
    symlinkSync('..data/config.yaml', join(dir, 'config.yaml'));
    const seen = watching(t, join(dir, 'config.yaml'));
    await seen.changed;
    const before = seen.times;
    symlinkSync('..2', join(dir, '..data_tmp'));
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
    await waitUntil('the change', 5_000, () => seen.times > before, 5);
  });

  it('takes a burst for one change, and does not care for its neighbours', async (t) => {
    const dir = temporaryFolder(t);
    const file = join(dir, 'config.yaml');
    const clock = createDrivenClock();
    const seen = watching(t, file, clock);
    await seen.changed; // the watch has begun
    seen.times = 0;
    writeFileSync(join(dir, 'plugin.log'), 'line');
    for (let i = 0; i < 20; i += 1) writeFileSync(file, `${i}`);
    while (clock.pending === 0) await settle();
    await clock.advance(10);
    while (clock.pending > 0) await clock.advance(10);
    assert.ok(seen.times >= 1 && seen.times <= 2, `${seen.times} changes`);
  });

  for (const [what, change] of [
    ['was removed', (dir: string) => rmSync(dir, { recursive: true })],
    [
      'was replaced by another',
      (dir: string) => {
        renameSync(dir, `${dir}.old`);
        mkdirSync(dir);
      },
    ],
  ] as const) {
    it(`says that it sees nothing any more when the directory ${what}`, async (t) => {
      const dir = join(temporaryFolder(t), 'etc');
      mkdirSync(dir);
      const { changed, lost } = watching(t, join(dir, 'config.yaml'));
      await changed;
      change(dir);
      assert.match(await lost, /\/etc: it was removed or replaced$/);
    });
  }

  it('says so at once where there is no directory', async (t) => {
    const { lost } = watching(t, join(temporaryFolder(t), 'none', 'config.yaml'));
    assert.match(await lost, /\/none: ENOENT$/);
  });
});
