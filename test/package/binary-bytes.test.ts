import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ARCHS, hashesOfAnotherBuild, sha256 } from './another-build.ts';
import { executable, ROOT } from './executable.ts';
import { needTools } from './packages-built.ts';

needTools();

const MAX_BYTES = 115e6;

describe('the bytes of the executables', () => {
  it('are the same from a build in another folder, on another day and without a network', () => {
    assert.deepEqual(
      hashesOfAnotherBuild(),
      ARCHS.map((arch) => sha256(executable(arch))),
    );
  });

  for (const arch of ARCHS) {
    it(`${arch}: name no folder of the build`, () => {
      const bytes = readFileSync(executable(arch));
      // A short ROOT alone may stand for anything.
      for (const place of [join(ROOT, 'node_modules'), join(tmpdir(), 'trousseau-')])
        assert.equal(bytes.indexOf(place), -1, place);
    });

    it(`${arch}: are few enough`, () => {
      const { size } = statSync(executable(arch));
      assert.ok(size <= MAX_BYTES, `${size} bytes`);
    });
  }
});
