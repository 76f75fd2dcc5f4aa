/** The shipped program at servers that reply as Vault does in trouble, or as what stands before it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../servers/free-port.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { inTime, waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { type FakeReply, type FakeVault, startFakeVault } from './fake-vault.ts';
import { trousseau, vaultProviders, writeConfig } from './program.ts';

const SEED = Buffer.alloc(32, 0x5e);
const DECRYPT = 'transit/decrypt/kubernetes';
const WAIT_MS = 20_000;
/** Twice this is more than kube-apiserver waits. */
const SLOW_REQUEST_MS = 1_600;
const SLOW_ANSWER_MS = 500;
const CALLING_MS = 2_000;
/** Of the process and the first calls; two callers make hundreds of calls in that time. */
const MOST_LOGINS = 5;
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

/** Vault 1.21 answers a batch with an item that it cannot decrypt so, with all results in it. */
const damages = [
  [400, 'cipher: message authentication failed', 'of an AES key'],
  [500, 'crypto/rsa: decryption error', 'of an RSA key'],
] as const;
for (const [status, said, of] of damages) {
  it(`a damaged ciphertext ${of} is the trouble of its caller alone, while a second server refuses connections`, async (t) => {
    const dir = temporaryFolder(t);
    const damaged = Buffer.alloc(64, 0x21).toString('base64');
    await using vault = await startFakeVault({
      async replyTo(path, body) {
        const { batch_input: items = [] } = body as {
          batch_input?: readonly { ciphertext: string }[];
        };
        if (path !== DECRYPT || !items.some(({ ciphertext }) => ciphertext.includes(damaged)))
          return undefined;
        const results = items.map(({ ciphertext }) =>
          ciphertext.includes(damaged) ? { error: said } : { plaintext: SEED.toString('base64') },
        );
        return { status, body: { data: { batch_results: results } } };
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
}

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

const REVOKE = 'auth/token/revoke-self';

it('a token that comes while the process stops is revoked', async (t) => {
  const dir = temporaryFolder(t);
  const [asked, stopping] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using vault = await startFakeVault({
    async replyTo(path) {
      if (path === REVOKE) return { status: 204 };
      if (path !== LOGIN) return undefined;
      asked.resolve();
      await stopping.promise;
      return granted(1);
    },
  });
  const providers = appRole(dir, vault.address);
  await using plugin = await startPlugin({ dir, config: { providers } });
  await inTime('a login', WAIT_MS, asked.promise);
  process.kill(plugin.process.pid, 'SIGTERM');
  await waitUntil('the end has begun', WAIT_MS, () => !existsSync(plugin.socket));
  await sleep(SLOW_ANSWER_MS); // nothing waits any more for what the login brings
  stopping.resolve();
  assert.equal(await inTime('the end', WAIT_MS, plugin.process.exited), 'code 0');
  assert.deepEqual(tokensRevoked(vault), ['hvs.1']);
});

it('a token that Vault does not revoke is said to live on', async (t) => {
  const dir = temporaryFolder(t);
  await using vault = await startFakeVault({
    async replyTo(path) {
      if (path === LOGIN) return granted(1);
      return path === REVOKE ? { status: 503, body: { errors: ['Vault is sealed'] } } : undefined;
    },
  });
  const providers = appRole(dir, vault.address);
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready();
  await plugin.stop();
  const line = plugin.log().find(({ msg }) => msg.startsWith('tokens not given back'));
  assert.deepEqual([line?.level, line?.['tokens']], ['warn', 1]);
  assert.match(String(line?.['why']), /Vault is sealed/);
});

function tokensRevoked(vault: FakeVault): readonly (string | undefined)[] {
  return vault.asked.filter(({ path }) => path === `/v1/${REVOKE}`).map(({ token }) => token);
}

/** What Status says as soon as it is no more than that nothing was reached. */
async function reason(plugin: Plugin, expected: RegExp): Promise<void> {
  await waitUntil(String(expected), WAIT_MS, async () => {
    const said = await plugin.client.v2.status().then(({ healthz }) => healthz, String);
    if (!expected.test(said)) throw new Error(said);
    return true;
  });
}

it('a refused login says when the next try is, and what makes it sooner', async (t) => {
  const dir = temporaryFolder(t);
  await using vault = await startFakeVault({
    replyTo: async (path) =>
      path === LOGIN ? { status: 400, body: { errors: ['invalid secret id'] } } : undefined,
  });
  await using plugin = await startPlugin({
    dir,
    config: { providers: appRole(dir, vault.address) },
  });
  await reason(plugin, /the next try is at \d{4}-\d\d-\d\dT.*SIGHUP/);
});

it('a token that is revoked after a policy was corrected is replaced within the call that meets it', async (t) => {
  const dir = temporaryFolder(t);
  let logins = 0;
  let isDenied = false;
  let revoked = '';
  await using vault = await startFakeVault({
    async replyTo(path, _body, token) {
      if (path === LOGIN) {
        logins += 1;
        return granted(logins);
      }
      if (!path.startsWith('transit/')) return undefined;
      if (isDenied) return { status: 403, body: { errors: ['permission denied'] } };
      return token === revoked
        ? { status: 403, body: { errors: ['permission denied', 'invalid token'] } }
        : undefined;
    },
  });
  const providers = appRole(dir, vault.address);
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready();
  isDenied = true;
  await assert.rejects(plugin.client.v1.encrypt(SEED));
  await reason(plugin, /PERMISSION_DENIED/);
  isDenied = false;
  await plugin.ready();
  revoked = `hvs.${logins}`;
  assert.ok((await plugin.client.v1.encrypt(SEED)).cipher.length > 0);
});

it('a secret id that came wrapped logs in again from memory, once its file was deleted', async (t) => {
  const dir = temporaryFolder(t);
  let logins = 0;
  let revoked = '';
  await using vault = await startFakeVault({
    async replyTo(path, body, token) {
      if (path === 'sys/wrapping/unwrap')
        return { status: 200, body: { data: { secret_id: 'unwrapped' } } };
      if (path === LOGIN) {
        logins += 1;
        assert.equal((body as { secret_id?: string }).secret_id, 'unwrapped');
        return granted(logins);
      }
      return token === revoked
        ? { status: 403, body: { errors: ['permission denied', 'invalid token'] } }
        : undefined;
    },
  });
  const [provider] = appRole(dir, vault.address) as [{ vault: { auth: { appRole: object } } }];
  const auth = { appRole: { ...provider.vault.auth.appRole, secretIDWrapped: true } };
  const providers = [{ ...provider, vault: { ...provider.vault, auth } }];
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready();
  rmSync(join(dir, 'secret-id'));
  revoked = `hvs.${logins}`;
  assert.ok((await plugin.client.v1.encrypt(SEED)).cipher.length > 0);
  assert.equal(logins, 2);
});

it('a Vault that is too slow for both requests of an Encrypt is named, with the setting to raise', async (t) => {
  const dir = temporaryFolder(t);
  await using vault = await startFakeVault({
    async replyTo(path) {
      if (/^transit\/(?:en|de)crypt\//.test(path)) await sleep(SLOW_REQUEST_MS);
      return undefined;
    },
  });
  const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready();
  await assert.rejects(plugin.client.v2.encrypt(SEED, 'slow'));
  // The caller's own deadline may have passed before it was told.
  const advice = /raise timeout of the kms provider in kube-apiserver's EncryptionConfiguration/;
  await waitUntil('the advice in the log', WAIT_MS, () =>
    plugin.log().some(({ level, why }) => level === 'warn' && advice.test(String(why))),
  );
});

it('a dedicated token that was revoked is no reason for a login with each call', async (t) => {
  const dir = temporaryFolder(t);
  let logins = 0;
  let isRevoked = false;
  await using vault = await startFakeVault({
    async replyTo(path) {
      if (path === LOGIN) {
        logins += 1;
        return granted(logins);
      }
      if (path === 'kv/data/t')
        return { status: 200, body: { data: { data: { token: 'hvs.dedicated' } } } };
      return isRevoked && /^transit\/|lookup-self$/.test(path)
        ? { status: 403, body: { errors: ['permission denied', 'invalid token'] } }
        : undefined;
    },
  });
  const [provider] = appRole(dir, vault.address) as [{ vault: { auth: object } }];
  const dedicatedToken = { mount: 'kv', path: 't', field: 'token', kvVersion: 2 };
  const auth = { ...provider.vault.auth, dedicatedToken };
  const providers = [{ ...provider, vault: { ...provider.vault, auth } }];
  await using plugin = await startPlugin({ dir, config: { providers } });
  await plugin.ready();
  isRevoked = true;
  logins = 0;
  const end = Date.now() + CALLING_MS;
  const caller = async (): Promise<void> => {
    while (Date.now() < end) {
      await assert.rejects(plugin.client.v1.encrypt(SEED));
      await sleep(10);
    }
  };
  await Promise.all([caller(), caller()]);
  assert.ok(logins <= MOST_LOGINS, `${logins} logins`);
});

it('a proxy that refuses is named with its answer', async (t) => {
  const dir = temporaryFolder(t);
  const proxy = createServer();
  proxy.on('connect', (_request, socket) =>
    socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'),
  );
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.after(() => proxy.close());
  const { port } = proxy.address() as AddressInfo;
  const env = { HTTPS_PROXY: `http://127.0.0.1:${port}` };
  const providers = vaultProviders(dir, 'hvs.x', ['https://vault.invalid:8200']);
  await using plugin = await startPlugin({ dir, config: { providers }, env });
  await reason(plugin, new RegExp(`proxy.*127\\.0\\.0\\.1:${port}.*407`));
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
