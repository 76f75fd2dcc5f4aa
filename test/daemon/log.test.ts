import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { type RunningProcess, startServer } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { startFakeVault } from './fake-vault.ts';
import { localProviders, PROGRAM, vaultProviders, writeConfig } from './program.ts';

const START_MS = 10_000;
const TOKEN = 'hvs.planted-secret-token';
const SECRET = Buffer.from('planted secret of thirty-2 bytes');
const LEVELS = ['debug', 'info', 'warn', 'error'];

/** Serves a few calls with these flags, stops, and answers the lines that it logged. */
async function linesOf(t: TestContext, ...flags: readonly string[]): Promise<readonly string[]> {
  await using vault = await startFakeVault();
  const dir = temporaryFolder(t);
  const file = writeConfig(dir, { providers: vaultProviders(dir, TOKEN, [vault.address]) });
  const client = createKmsClient(join(dir, 'kms.sock'));
  const command = {
    program: PROGRAM,
    args: ['serve', '--config', file, ...flags],
    logFile: join(dir, 'plugin.log'),
  };
  await using running: RunningProcess = await startServer(command, START_MS, async () => {
    const { healthz } = await client.v2.status();
    return healthz === 'ok';
  });
  const { v1, v2 } = client;
  const { cipher } = await v1.encrypt(SECRET);
  await v1.decrypt(cipher);
  const sealed = await v2.encrypt(SECRET, 'uid-encrypt');
  await v2.decrypt({ ...sealed, uid: 'uid-decrypt' });
  await v2.decrypt({ ...sealed, ciphertext: SECRET, uid: 'uid-damaged' }).catch(() => undefined);
  await v2.encrypt(SECRET, `uid\n${'x'.repeat(1_000)}`);
  client.close();
  await running.stop();
  assert.equal(await running.exited, 'code 0');
  const text = readFileSync(command.logFile, 'utf8');
  for (const secret of [TOKEN, SECRET, SECRET.toString('base64'), SECRET.toString('hex')])
    assert.equal(text.includes(secret.toString()), false);
  assert.equal(text.includes(Buffer.from(sealed.ciphertext).toString('latin1', 9, 60)), false);
  return text.split('\n').slice(0, -1);
}

type Line = Readonly<Record<string, unknown>>;

describe('the log', () => {
  it('has one JSON line for each call at debug: method, uid, duration, key version and outcome', async (t) => {
    const lines = await linesOf(t, '--log-level', 'debug', '--log-format', 'json');
    const calls = lines
      .map((line) => JSON.parse(line) as Line)
      .filter(({ msg, method }) => msg === 'kms call' && !String(method).endsWith('/Status'));
    assert.deepEqual(
      calls.map(({ method, uid, keyVersion, outcome }) => [
        String(method).replace('KeyManagementService/', ''),
        uid,
        keyVersion,
        outcome,
      ]),
      [
        ['/v1beta1.Encrypt', undefined, 1, 'OK'],
        ['/v1beta1.Decrypt', undefined, 1, 'OK'],
        ['/v2.Encrypt', 'uid-encrypt', 1, 'OK'],
        ['/v2.Decrypt', 'uid-decrypt', 1, 'OK'],
        ['/v2.Decrypt', 'uid-damaged', undefined, 'INVALID_ARGUMENT'],
        ['/v2.Encrypt', `uid\n${'x'.repeat(60)}`, 1, 'OK'],
      ],
    );
    for (const { ms, level, time } of calls) {
      assert.equal(level, 'debug');
      assert.ok(typeof ms === 'number' && ms >= 0 && ms < 3_000);
      assert.ok(Number.isFinite(Date.parse(String(time))));
    }
  });

  it('is key=value text for people, one line for each thing whatever is in it', async (t) => {
    const lines = await linesOf(t, '--log-level=debug', '--log-format=text');
    for (const line of lines)
      assert.match(
        line,
        /^\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO |WARN |ERROR) [^=]+( \w+=("(\\.|[^"\\])*"|[^ "]+))*$/,
      );
    const call = lines.find((line) => line.includes('uid=uid-encrypt')) ?? '';
    assert.match(
      call,
      /kms call method=\/v2\.\S+Encrypt uid=uid-encrypt keyVersion=1 ms=[\d.]+ outcome=OK$/,
    );
  });

  for (const [i, level] of LEVELS.entries()) {
    it(`with --log-level ${level} has nothing below it`, async (t) => {
      const lines = (await linesOf(t, '--log-level', level)).map(
        (line) => JSON.parse(line) as Line,
      );
      for (const line of lines) assert.ok(LEVELS.indexOf(String(line['level'])) >= i);
      assert.equal(
        lines.some(({ msg }) => msg === 'kms call'),
        level === 'debug',
      );
      assert.equal(
        lines.some(({ msg }) => msg === 'key announced'),
        i <= 1,
      );
    });
  }
});

it('lines for the journal begin with their severity, so that journalctl -p err finds them', async (t) => {
  const dir = temporaryFolder(t);
  const file = writeConfig(dir, { providers: await localProviders(dir) });
  const logFile = join(dir, 'plugin.log');
  writeFileSync(logFile, '');
  const { dev, ino } = statSync(logFile);
  const client = createKmsClient(join(dir, 'kms.sock'));
  t.after(() => client.close());
  const env = { JOURNAL_STREAM: `${dev}:${ino}` };
  const args = ['serve', '--config', file];
  const command = { program: PROGRAM, args, logFile, env };
  await using running = await startServer(command, START_MS, async () => {
    return (await client.v2.status()).healthz === 'ok';
  });
  rmSync(join(dir, 'kms.sock'));
  const lines = (): readonly string[] => readFileSync(logFile, 'utf8').split('\n').slice(0, -1);
  await waitUntil('an error', START_MS, () => lines().some((line) => line.includes('"error"')));
  await running.stop();
  const severities = { error: '<3>', warn: '<4>', info: '<6>', debug: '<7>' };
  for (const line of lines()) {
    const { level } = JSON.parse(line.slice(3)) as { readonly level: keyof typeof severities };
    assert.equal(line.slice(0, 3), severities[level], line);
  }
});

it('a log that cannot be written, on a disk that is full, stops nothing', async (t) => {
  const dir = temporaryFolder(t);
  const file = writeConfig(dir, { providers: await localProviders(dir) });
  const full = openSync('/dev/full', 'w');
  const daemon = spawn(PROGRAM, ['serve', '--config', file, '--log-level', 'debug'], {
    stdio: ['ignore', 'ignore', full],
  });
  closeSync(full);
  const ended = once(daemon, 'exit');
  const client = createKmsClient(join(dir, 'kms.sock'));
  t.after(async () => {
    client.close();
    daemon.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  });
  await waitUntil(
    'a good Status',
    START_MS,
    async () => (await client.v2.status()).healthz === 'ok',
  );
  const { ciphertext } = await client.v2.encrypt(SECRET, 'uid');
  assert.ok(ciphertext.length > 0);
});
