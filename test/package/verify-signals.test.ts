/** `make verify-release` that is ended by a signal leaves no folder and no program behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROVENANCE, SUMS } from '../../scripts/release/digests.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { ROOT } from './executable.ts';
import { KEY, NODE } from './release-scripts.ts';

const LIMIT_MS = 30_000;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`${signal} while gpg runs`, async (t) => {
    const dir = temporaryFolder(t);
    const [bin, release, temporary] = ['bin', 'release', 'tmp'].map((name) => join(dir, name));
    for (const folder of [bin, release, temporary]) mkdirSync(folder ?? '');
    for (const file of [KEY, SUMS, `${SUMS}.asc`, PROVENANCE])
      writeFileSync(join(release ?? '', file), '');
    const started = join(dir, 'gpg.pid');
    writeFileSync(join(bin ?? '', 'gpg'), `#!/bin/sh\necho $$ >${started}\nexec sleep 600\n`, {
      mode: 0o755,
    });
    const child = spawn(NODE, ['scripts/release/verify.ts', '--release', release ?? ''], {
      cwd: ROOT,
      env: { ...process.env, PATH: `${bin}:${process.env['PATH']}`, TMPDIR: temporary },
      stdio: 'ignore',
    });
    const gpg = (): string => (existsSync(started) ? readFileSync(started, 'utf8').trim() : '');
    await waitUntil('gpg', LIMIT_MS, async () => gpg() !== '');
    assert.notDeepEqual(readdirSync(temporary ?? ''), []);
    const exit = once(child, 'exit');
    child.kill(signal);
    const [code] = (await exit) as [number | null];
    assert.ok(code !== 0 && code !== null, `ended with ${code}`);
    assert.deepEqual(readdirSync(temporary ?? ''), []);
    await waitUntil('the end of gpg', LIMIT_MS, async () => !existsSync(`/proc/${gpg()}`));
  });
}
