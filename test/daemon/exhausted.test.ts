import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';

const SCRIPT = join(import.meta.dirname, 'exhausted.ts');

/** What the proof says of a process that may have 64 descriptors, and uses them all. */
function pulseWith(spare: number): { readonly kind: string; readonly why?: string } {
  const argv = ['-c', 'ulimit -n 64; exec "$0" "$1" "$2"', process.execPath, SCRIPT, String(spare)];
  return JSON.parse(execFileSync('/bin/sh', argv, { encoding: 'utf8' }));
}

describe('the proof of a process that has reached LimitNOFILE=', () => {
  it('succeeds with the descriptors that are held in reserve for it', () => {
    assert.deepEqual(pulseWith(8), { kind: 'alive' });
  });

  it('proves nothing without one, so that a process that serves is not killed', () => {
    const { kind, why } = pulseWith(0);
    assert.equal(kind, 'unknown');
    assert.match(why ?? '', /no file descriptor is free: raise LimitNOFILE=/);
  });
});
