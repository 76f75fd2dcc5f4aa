/**
 * Runs a script in a second process whose temporary files lie in a folder of their own, which goes with it,
 * also where a signal ends it: what the script waits for (gpg, a build) would keep it from noticing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

const INSIDE = 'TROUSSEAU_OWN_TEMPORARY_FOLDER';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** True in the second process; false in the first one, when the second has ended, with its exit code set. */
export async function inOwnTemporaryFolder(): Promise<boolean> {
  if (process.env[INSIDE] === process.env['TMPDIR'] && process.env[INSIDE] !== undefined)
    return true;
  const folder = mkdtempSync(join(tmpdir(), 'trousseau-verify-'));
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    // A group of its own, so that a signal also reaches what it waits for.
    detached: true,
    env: { ...process.env, TMPDIR: folder, [INSIDE]: folder },
  });
  for (const signal of SIGNALS)
    process.on(signal, () => {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    });
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    process.exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
  return false;
}
