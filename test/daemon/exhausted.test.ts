import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';

const SCRIPT = join(import.meta.dirname, 'exhausted.ts');

type Pulse = {
  readonly kind: string;
  readonly why?: string;
  /** Lines that it had logged before, and those of all. */
  readonly quiet: number;
  readonly lines: readonly string[];
};

/** What the proof says of a process that may have 64 descriptors, and uses them all. */
function pulseWith(spare: number): Pulse {
  const argv = ['-c', 'ulimit -n 64; exec "$0" "$1" "$2"', process.execPath, SCRIPT, String(spare)];
  return JSON.parse(execFileSync('/bin/sh', argv, { encoding: 'utf8' }));
}

describe('the proof of a process that has reached LimitNOFILE=', () => {
  it('succeeds with the descriptors that are held in reserve for it', () => {
    assert.equal(pulseWith(8).kind, 'alive');
  });

  it('is a connection with one of the last descriptors, of which the log says what to do', () => {
    const { quiet, lines } = pulseWith(8);
    assert.equal(quiet, 0);
    assert.match(lines.join('\n'), /nearly every file descriptor is in use.*raise LimitNOFILE=/);
  });

  it('proves nothing without one, so that a process that serves is not killed', () => {
    const { kind, why } = pulseWith(0);
    assert.equal(kind, 'unknown');
    assert.match(why ?? '', /no file descriptor is free: raise LimitNOFILE=/);
  });
});
