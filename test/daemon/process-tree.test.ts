import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { childrenWith, killTree } from '../../scripts/process-tree.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';

/** Ignores SIGTERM, as what it has started does, and never ends; says what that is. */
const SCRIPT = `process.on('SIGTERM', () => undefined);
const { spawn } = require('node:child_process');
const shell = "trap '' TERM; echo started; while :; do sleep 1; done";
spawn('/bin/sh', ['-c', shell], { stdio: 'inherit' });
`;

it('ends a process that ignores SIGTERM, and what it has started with the same output', {
  timeout: 60_000,
}, async (t) => {
  const file = join(temporaryFolder(t), 'hangs.cjs');
  writeFileSync(file, SCRIPT);
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const closed = once(child, 'close');
  await once(child.stdout, 'data');
  assert.deepEqual(childrenWith(process.pid, file), [child.pid]);
  for (const pid of childrenWith(process.pid, file)) killTree(pid);
  // The output closes when the last one that has it ends.
  assert.deepEqual(await closed, [null, 'SIGKILL']);
  assert.deepEqual(childrenWith(process.pid, file), []);
});
