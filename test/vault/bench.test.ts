import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import type { Plugin } from '../servers/plugin.ts';
import { environment } from '../servers/process.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import {
  KEY,
  POLICY,
  prepareTransit,
  secretFile,
  startWithToken,
  testFolder,
} from './vault-under-test.ts';

const PROGRAM = join(import.meta.dirname, '../../dist/trousseau');

type Ended = { readonly code: number; readonly out: string; readonly err: string };

type Figures = {
  readonly operation: string;
  readonly concurrency: number;
  readonly way: string;
  readonly calls: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  readonly firstError: string | null;
};

type Report = {
  readonly complete: boolean;
  readonly seconds: number;
  readonly socket: string | null;
  readonly direct: { readonly provider: string; readonly kind: string } | null;
  readonly notes: readonly string[];
  readonly measurements: readonly Figures[];
  readonly differences: readonly {
    readonly operation: string;
    readonly concurrency: number;
    readonly callsPerSecond: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
  }[];
};

async function bench(...args: readonly string[]): Promise<Ended> {
  return await new Promise((resolve) => {
    execFile(PROGRAM, ['bench', ...args], { env: environment() }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err }),
    );
  });
}

describe('trousseau bench on a real Vault', { timeout: 120_000 }, () => {
  const folder = testFolder();
  let vault: DevVault;
  let plugin: Plugin;
  let dir: string;

  before(async () => {
    vault = await startDevVault({ release: 'newest', dir: folder.path });
    await prepareTransit(vault.admin);
    dir = folder.sub('plugin');
    plugin = await startWithToken(vault.admin, vault.address, dir);
    await plugin.ready();
  });
  after(async () => {
    await plugin?.stop();
    await vault?.stop();
    folder.remove();
  });

  it('measures Transit alone and the way through the plugin, without a failed call', async () => {
    const config = join(dir, 'config.yaml');
    const flags = ['--seconds', '1', '--concurrency', '1,16', '--output', 'json'];
    const { code, out, err } = await bench('--config', config, ...flags);
    assert.equal(code, 0, err);
    const report = JSON.parse(out) as Report;
    assert.deepEqual(
      [report.complete, report.seconds, report.socket, report.direct, report.notes],
      [true, 1, plugin.socket, { provider: 'vault', kind: 'vault' }, []],
    );
    const cells = ['decrypt', 'encrypt'].flatMap((operation) =>
      [1, 16].flatMap((concurrency) => ({ operation, concurrency })),
    );
    assert.deepEqual(
      report.measurements.map(({ operation, concurrency, way }) => ({
        operation,
        concurrency,
        way,
      })),
      cells.flatMap((cell) => ['direct', 'plugin'].map((way) => ({ ...cell, way }))),
    );
    for (const m of report.measurements) {
      assert.deepEqual([m.errors, m.firstError], [0, null]);
      assert.ok(m.calls > 0 && m.callsPerSecond > 0, JSON.stringify(m));
      assert.ok(m.p50Ms > 0 && m.p50Ms <= m.p99Ms, JSON.stringify(m));
    }
    assert.deepEqual(
      report.differences.map(({ operation, concurrency }) => ({ operation, concurrency })),
      cells,
    );
    for (const { callsPerSecond, p50Ms, p99Ms } of report.differences)
      for (const figure of [callsPerSecond, p50Ms, p99Ms]) assert.equal(typeof figure, 'number');
    assert.equal(err.split('\n').filter((line) => /^\d\/8 /.test(line)).length, 8, err);
    for (const secret of ['vault:v', 'hvs.', 'root'])
      assert.equal(`${out}${err}`.includes(secret), false, secret);
  });

  it('measures with a token of its own instead of the configuration, and keeps that token', async () => {
    const token = await vault.admin.createToken({ policies: [POLICY] });
    const tokenFile = secretFile(dir, 'own-token', token);
    const { code, out, err } = await bench(
      ...['--socket', plugin.socket, '--vault', vault.address, '--key', KEY],
      ...['--token-file', tokenFile, '--seconds', '0.2', '--concurrency', '2'],
    );
    assert.equal(code, 0, err);
    assert.match(out, /^decrypt +2 {2}vault alone +\d+ /m);
    assert.match(out, /^decrypt +2 {2}through the plugin +\d+ /m);
    assert.match(out, /^ +difference +x \d/m);
    assert.doesNotMatch(out, /another key/);
    await vault.admin.withToken(token).read('auth/token/lookup-self');
  });

  it('ends at a Ctrl-C with what was measured so far', async () => {
    const args = ['--socket', plugin.socket, '--seconds', '3600', '--output', 'json'];
    const child = spawn(PROGRAM, ['bench', ...args], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const out = text(child.stdout);
    const ended = once(child, 'exit');
    await once(child.stderr, 'data'); // the first measurement begins
    child.kill('SIGINT');
    assert.deepEqual(await ended, [1, null]);
    const { complete, measurements } = JSON.parse(await out) as Report;
    assert.equal(complete, false);
    assert.ok(measurements.every(({ errors }) => errors === 0));
  });

  it('says what to do where Vault refuses or is not there', async () => {
    const tokenFile = secretFile(dir, 'wrong-token', 'hvs.wrong');
    const flags = ['--key', KEY, '--token-file', tokenFile, '--seconds', '0.2'];
    const refused = await bench('--vault', vault.address, ...flags);
    assert.deepEqual([refused.code, refused.out], [1, '']);
    assert.match(refused.err, /^provider vault: .*write a new token there/);
    const absent = await bench('--vault', 'http://127.0.0.1:1', ...flags);
    assert.deepEqual([absent.code, absent.out], [1, '']);
    assert.match(absent.err, /^provider vault: .*ECONNREFUSED/);
  });

  it('warns where the plugin uses another key than the one that is measured beside it', async () => {
    await vault.admin.createKey('other');
    const tokenFile = secretFile(dir, 'root-token', vault.admin.token);
    const { code, out, err } = await bench(
      ...['--socket', plugin.socket, '--vault', vault.address, '--key', 'other'],
      ...['--token-file', tokenFile, '--seconds', '0.2', '--concurrency', '1'],
    );
    assert.equal(code, 0, err);
    assert.match(out, /announces another key than the one that was measured directly/);
  });

  it('measures nothing where the plugin is not ready, and says why', async () => {
    const away = folder.sub('away');
    await using lonely = await startWithToken(vault.admin, 'http://127.0.0.1:1', away);
    const { code, out, err } = await bench('--socket', lonely.socket);
    assert.deepEqual([code, out], [1, '']);
    assert.match(
      err,
      /is not ready: the provider has not been reached yet.*; its \/readyz says more/,
    );
  });
});
