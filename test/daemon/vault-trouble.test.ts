/** The shipped program at servers that reply as Vault does in trouble, or as what stands before it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../servers/free-port.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { type FakeReply, startFakeVault } from './fake-vault.ts';
import { trousseau, vaultProviders, writeConfig } from './program.ts';

const SEED = Buffer.alloc(32, 0x5e);
const DECRYPT = 'transit/decrypt/kubernetes';
const WAIT_MS = 20_000;
/** Longer than one request may take by default. */
const SLOW_LOGIN_MS = 2_500;

type Sealed = Awaited<ReturnType<Plugin['client']['v2']['encrypt']>>;

const outcome = (plugin: Plugin, sealed: Sealed, uid: string): Promise<string> =>
  plugin.client.v2.decrypt({ ...sealed, uid }).then(
    ({ plaintext }) => (SEED.equals(plaintext) ? 'answered' : 'wrong'),
    (error) => String(error),
  );

describe('a first server that replies to a decrypt as below, and a second one that is well', () => {
  const replies: readonly (readonly [what: string, reply: FakeReply])[] = [
    [
      'a redirect to where no Vault is',
      { status: 302, headers: { location: 'https://x.example/' } },
    ],
    ['success without a word', { status: 204 }],
    ['success with what is no result', { status: 200, body: {} }],
    [
      'that it is a DR secondary',
      { status: 400, body: { errors: ['path disabled in replication DR secondary mode'] } },
    ],
  ];
  for (const [what, reply] of replies) {
    it(`${what}: the second one is asked`, async (t) => {
      const dir = temporaryFolder(t);
      let turned = false;
      await using first = await startFakeVault({
        replyTo: async (path) => (turned && path === DECRYPT ? reply : undefined),
      });
      await using second = await startFakeVault();
      const providers = vaultProviders(dir, 'hvs.x', [first.address, second.address]);
      await using plugin = await startPlugin({ dir, config: { providers } });
      await plugin.ready();
      const sealed = await plugin.client.v2.encrypt(SEED, 'before');
      turned = true;
      assert.equal(await outcome(plugin, sealed, 'after'), 'answered');
    });
  }
});

it('a damaged ciphertext is the trouble of its caller alone, while a second server refuses connections', async (t) => {
  const dir = temporaryFolder(t);
  const damaged = Buffer.alloc(64, 0x21).toString('base64');
  // Vault 1.21 answers a batch with an item that it cannot decrypt with 400, and all results in it.
  await using vault = await startFakeVault({
    async replyTo(path, body) {
      const { batch_input: items = [] } = body as {
        batch_input?: readonly { ciphertext: string }[];
      };
      if (path !== DECRYPT || !items.some(({ ciphertext }) => ciphertext.includes(damaged)))
        return undefined;
      const results = items.map(({ ciphertext }) =>
        ciphertext.includes(damaged)
          ? { error: 'cipher: message authentication failed' }
          : { plaintext: SEED.toString('base64') },
      );
      return { status: 400, body: { data: { batch_results: results } } };
    },
  });
  const refusing = `http://127.0.0.1:${await freePort()}`;
  const providers = vaultProviders(dir, 'hvs.x', [vault.address, refusing]);
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready();
  const sealed = await plugin.client.v2.encrypt(SEED, 'before');
  const bad = { ...sealed, ciphertext: Buffer.from(`vault:v1:${damaged}`) };
  const outcomes = await Promise.all([
    outcome(plugin, bad, 'damaged'),
    ...Array.from({ length: 8 }, (_, i) => outcome(plugin, sealed, `good-${i}`)),
  ]);
  assert.match(outcomes[0] ?? '', /INVALID_ARGUMENT/);
  assert.deepEqual(
    outcomes.slice(1),
    Array.from({ length: 8 }, () => 'answered'),
  );
});

it('a reply of a load balancer that asks for an hour of silence does not stop the provider', async (t) => {
  const dir = temporaryFolder(t);
  let turned = false;
  await using vault = await startFakeVault({
    async replyTo(path) {
      if (!turned || path !== DECRYPT) return undefined;
      turned = false;
      return { status: 503, headers: { 'retry-after': '3600' } };
    },
  });
  const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready();
  const sealed = await plugin.client.v2.encrypt(SEED, 'before');
  turned = true;
  await outcome(plugin, sealed, 'during');
  await waitUntil('a decrypt is answered', 10_000, async () => {
    const now = await outcome(plugin, sealed, 'after');
    if (now === 'answered') return true;
    throw new Error(now);
  });
});

/** A provider that logs in by AppRole, whose login is answered by the server. */
function appRole(dir: string, address: string): readonly object[] {
  const secretIDFile = join(dir, 'secret-id');
  writeFileSync(secretIDFile, 'secret\n', { mode: 0o600 });
  const auth = { appRole: { roleID: 'role', secretIDFile } };
  return [{ name: 'vault', vault: { addresses: [address], key: 'kubernetes', auth } }];
}

const LOGIN = 'auth/approle/login';
const granted = (number: number): FakeReply => ({
  status: 200,
  body: {
    auth: {
      client_token: `hvs.${number}`,
      accessor: `accessor-${number}`,
      lease_duration: 3600,
      renewable: true,
      policies: ['trousseau'],
      token_policies: ['trousseau'],
      token_type: 'service',
      num_uses: 0,
    },
  },
});

it('a login that takes longer than a request may is waited for, and brings the one token that is used', async (t) => {
  const dir = temporaryFolder(t);
  let logins = 0;
  await using vault = await startFakeVault({
    async replyTo(path) {
      if (path !== LOGIN) return undefined;
      logins += 1;
      const reply = granted(logins);
      await sleep(SLOW_LOGIN_MS);
      return reply;
    },
  });
  const providers = appRole(dir, vault.address);
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready(WAIT_MS);
  assert.equal(logins, 1);
});

it('a policy that does not let the key be read is named, and no new secret id is asked for', async (t) => {
  const dir = temporaryFolder(t);
  let reads = 0;
  let logins = 0;
  await using vault = await startFakeVault({
    async replyTo(path) {
      if (path === LOGIN) {
        logins += 1;
        return granted(logins);
      }
      if (path !== 'transit/keys/kubernetes') return undefined;
      reads += 1;
      return { status: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } };
    },
  });
  const health = { watchInterval: '1s' };
  const config = { providers: appRole(dir, vault.address), health };
  await using plugin = await startPlugin({ dir, config });
  await waitUntil('the key is asked for again', WAIT_MS, () => reads > 3);
  const said = await plugin.client.v2.status().then(
    ({ healthz }) => healthz,
    (error) => String(error),
  );
  assert.match(said, /transit\/keys\/kubernetes/);
  assert.doesNotMatch(said, /new secret id/);
});

it('an empty tls.caFile is refused, since no authority is not every authority', async (t) => {
  const dir = temporaryFolder(t);
  const caFile = join(dir, 'ca.pem');
  writeFileSync(caFile, '');
  const [provider] = vaultProviders(dir, 'hvs.x', ['https://127.0.0.1:9']) as [{ vault: object }];
  const providers = [{ ...provider, vault: { ...provider.vault, tls: { caFile } } }];
  const { code, err } = await trousseau('config', 'check', writeConfig(dir, { providers }));
  assert.equal(code, 2, err);
  assert.match(err, /tls\.caFile/);
});
