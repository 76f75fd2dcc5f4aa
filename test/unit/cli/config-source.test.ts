import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { configFile } from '../../../src/cli/config-source.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const CONFIG = `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
providers:
  - name: here
    local: {keyringFile: /keyring.json}
`;

describe('the file of the configuration', () => {
  it('has the same fingerprint for the same content, and another for another', async (t) => {
    const file = join(temporaryFolder(t), 'config.yaml');
    const read = configFile(file, {});
    writeFileSync(file, CONFIG);
    const first = await read();
    assert.ok(first.result.ok);
    writeFileSync(file, CONFIG);
    assert.equal((await read()).fingerprint, first.fingerprint);
    writeFileSync(file, `${CONFIG}# more\n`);
    assert.notEqual((await read()).fingerprint, first.fingerprint);
  });

  it('is a problem where it is missing, and no less a fingerprint', async (t) => {
    const file = join(temporaryFolder(t), 'config.yaml');
    const { fingerprint, result } = await configFile(file, {})();
    assert.deepEqual([fingerprint, result.ok], ['ENOENT', false]);
  });
});
