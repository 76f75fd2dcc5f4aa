/**
 * `make demo`: the shipped daemon with a local keyring in a temporary folder, driven as
 * kube-apiserver drives it, and what that would leave in etcd. Leaves nothing behind.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import protobuf from 'protobufjs/minimal.js';
import { createKmsClient, type KmsClient } from '../src/kms/client.ts';
import type { EncryptResponse } from '../src/kms/codec/v2.ts';

const ROOT = join(import.meta.dirname, '..');
/** What is shipped; under Deno the sources as they are, run by the Deno that runs this. */
const [PROGRAM, ...FIRST]: readonly [string, ...string[]] =
  'Deno' in globalThis
    ? [
        process.execPath,
        ...['run', '--quiet', '--no-lock', '--node-modules-dir=manual', '--no-check'],
        ...['--allow-all', join(ROOT, 'src/main.ts')],
      ]
    : [join(ROOT, 'dist/trousseau')];
const READY_LIMIT_MS = 5_000;
const ROTATION_LIMIT_MS = 5_000;
const STORED_PREFIX = 'k8s:enc:kms:v2:trousseau:';

const folder = mkdtempSync(join(tmpdir(), 'trousseau-demo-'));
const socket = join(folder, 'kms.sock');
const keyring = join(folder, 'keyring.json');
const config = join(folder, 'config.yaml');

function step(title: string): void {
  process.stdout.write(`\n${title}\n`);
}

function show(name: string, value: string | Uint8Array): void {
  const text = typeof value === 'string' ? value : printable(value);
  process.stdout.write(
    `  ${name.padEnd(12)} ${text.length > 90 ? `${text.slice(0, 87)}...` : text}\n`,
  );
}

/** Text as it is, anything else in hexadecimal. */
function printable(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('latin1');
  return /^[\x20-\x7e]+$/.test(text) ? text : Buffer.from(bytes).toString('hex');
}

async function main(): Promise<void> {
  step('1. A keyring and a configuration');
  run('keyring', 'init', keyring);
  writeFileSync(
    config,
    `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
listen: {socket: ${socket}}
admin: {socket: ${join(folder, 'admin.sock')}}
log: {level: warn, format: text}
health: {watchInterval: 1s}
providers:
  - name: demo
    local: {keyringFile: ${keyring}}
`,
  );
  show('keyring', keyring);
  show('config', config);

  step('2. trousseau serve');
  const began = Date.now();
  const daemon = spawn(PROGRAM, [...FIRST, 'serve', '--config', config], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const stopped = new Promise<number | null>((resolve) => daemon.once('exit', resolve));
  cleanUpOnInterrupt(daemon);
  try {
    await socketAppears(stopped);
    const client = createKmsClient(socket);
    await drive(client, began);
    client.close();
  } finally {
    daemon.kill('SIGTERM');
  }
  step('7. SIGTERM');
  show('exit code', String(await stopped));
  show('socket', existsSync(socket) ? 'still there' : 'removed');
}

async function drive({ v1, v2 }: KmsClient, began: number): Promise<void> {
  let status = await v2.status();
  show('socket', socket);
  show('first Status', `${Date.now() - began} ms after the start`);

  step('3. KMS v1: Version, Encrypt, Decrypt');
  const version = await v1.version();
  show('version', `${version.version}, ${version.runtime_name} ${version.runtime_version}`);
  const dek = randomBytes(32);
  const { cipher } = await v1.encrypt(dek);
  show('data key', dek);
  show('cipher', cipher);
  show('decrypted', verdict((await v1.decrypt(cipher)).plain, dek));

  step('4. KMS v2: Status, Encrypt, Decrypt');
  show('status', `${status.version}, healthz ${status.healthz}`);
  show('key_id', status.key_id);
  const seed = randomBytes(32);
  const old = await v2.encrypt(seed, 'demo-1');
  show('seed', seed);
  show('ciphertext', old.ciphertext);
  const decrypted = await v2.decrypt({ ...old, uid: 'demo-2' });
  show('decrypted', verdict(decrypted.plaintext, seed));

  step('5. What kube-apiserver would store for a Secret under that seed');
  const key = '/registry/secrets/default/demo';
  const secret = Buffer.from('{"kind":"Secret","data":{"password":"Y29ycmVjdCBob3JzZQ=="}}');
  const stored = asKubeApiserverStores(secret, seed, old, key);
  show('Secret', secret);
  show('etcd key', key);
  show('etcd value', `${STORED_PREFIX} and ${stored.length} bytes of EncryptedObject:`);
  show('', stored.toString('hex'));

  step('6. Rotation: a new key version, the old ciphertext still readable');
  run('keyring', 'rotate', keyring);
  // The daemon looks at its key every watchInterval; this one was told to do so every second.
  const before = status.key_id;
  const limit = Date.now() + ROTATION_LIMIT_MS;
  while (status.key_id === before && Date.now() < limit) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    status = await v2.status();
  }
  show('key_id', status.key_id);
  show('v1 cipher', (await v1.encrypt(dek)).cipher);
  show('old one', verdict((await v2.decrypt({ ...old, uid: 'demo-3' })).plaintext, seed));
}

/**
 * The EncryptedObject of KEP-3299: the data key is HKDF-Expand (RFC 5869, one block) of the seed
 * with 32 random bytes of info, the object AES-256-GCM under it, bound to its etcd key.
 */
function asKubeApiserverStores(
  object: Buffer,
  seed: Buffer,
  encryptedSeed: EncryptResponse,
  etcdKey: string,
): Buffer {
  const info = randomBytes(32);
  const nonce = randomBytes(12);
  const dataKey = createHmac('sha256', seed).update(info).update(Buffer.of(1)).digest();
  const cipher = createCipheriv('aes-256-gcm', dataKey, nonce).setAAD(Buffer.from(etcdKey));
  const sealed = [info, nonce, cipher.update(object), cipher.final(), cipher.getAuthTag()];
  const HKDF_SHA256_XNONCE_AES_GCM_SEED = 1;
  const writer = protobuf.Writer.create();
  writer.uint32((1 << 3) | 2).bytes(Buffer.concat(sealed));
  writer.uint32((2 << 3) | 2).string(encryptedSeed.key_id);
  writer.uint32((3 << 3) | 2).bytes(encryptedSeed.ciphertext);
  writer.uint32(5 << 3).int32(HKDF_SHA256_XNONCE_AES_GCM_SEED);
  return Buffer.from(writer.finish());
}

function verdict(actual: Uint8Array, expected: Uint8Array): string {
  if (!Buffer.from(actual).equals(expected))
    throw new Error('what was decrypted is not what was encrypted');
  return 'the same bytes';
}

function run(...args: string[]): void {
  execFileSync(PROGRAM, [...FIRST, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Resolves when the socket is there; rejects when the daemon ended instead. */
async function socketAppears(stopped: Promise<number | null>): Promise<void> {
  const watching = new AbortController();
  const appeared = new Promise<void>((resolve) => {
    const look = (): void => {
      if (existsSync(socket)) resolve();
    };
    watch(folder, { signal: watching.signal }, look);
    look();
  });
  const late = new Promise<never>((_, reject) => {
    AbortSignal.timeout(READY_LIMIT_MS).addEventListener('abort', () =>
      reject(new Error('no socket in time')),
    );
  });
  const ended = stopped.then((code) => {
    throw new Error(`the daemon ended with ${code}`);
  });
  try {
    await Promise.race([appeared, late, ended]);
  } finally {
    watching.abort();
  }
}

function cleanUpOnInterrupt(daemon: ChildProcess): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      daemon.once('exit', () => {
        rmSync(folder, { recursive: true, force: true });
        process.exit(code);
      });
      daemon.kill('SIGTERM');
    });
  }
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
