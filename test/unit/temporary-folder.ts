/** A folder of a test's own, gone with it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** An empty folder with mode 0700 that is removed when the test ends. */
export function temporaryFolder(t: TestContext, parent: string = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'trousseau-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
