/**
 * What real Vaults reply, byte for byte where it decides: the replies of the reply table (test/unit)
 * that a Vault without a licence can be made to give, read as the client reads them.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import type { Result } from '../../src/providers/errors.ts';
import {
  type Content,
  type Response,
  readReply,
  type VaultReply,
} from '../../src/providers/vault/reply.ts';
import { startServer } from '../servers/process.ts';
import { type DevVault, startDevVault, startSealableVault } from '../servers/vault.ts';
import {
  KEY,
  PLAIN,
  prepareTransit,
  RELEASES,
  startTlsVault,
  startWithToken,
  testFolder,
} from './vault-under-test.ts';

const folder = testFolder();
after(() => folder.remove());

type Asked = {
  readonly address: string;
  readonly token?: string;
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
};

/** The whole response as it stands on the wire. */
async function ask({ address, token, method = 'POST', path, body }: Asked): Promise<Response> {
  const response = await fetch(`${address}/v1/${path}`, {
    method,
    redirect: 'manual',
    headers: token === undefined ? {} : { 'x-vault-token': token },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return {
    status: response.status,
    text: await response.text(),
    contentType: response.headers.get('content-type') ?? '',
    retryAfter: response.headers.get('retry-after') ?? undefined,
    location: response.headers.get('location') ?? undefined,
  };
}

function read(response: Response, holds: Content): Result<VaultReply> {
  return readReply({ method: 'POST', path: 'x', what: 'asking', holds }, 'Vault', response, 0);
}

/** Status and class of a reply: `400 answer`, `403 unauthenticated of the request`. */
function classOf(response: Response, holds: Content): string {
  const result = read(response, holds);
  if (!result.ok) return `${response.status} not Vault: ${result.error.message}`;
  const { value } = result;
  return value.kind === 'answer'
    ? `${value.status} answer`
    : `${value.status} ${value.failure.error.kind} of the ${value.reach}`;
}

function flipped(ciphertext: string): string {
  const at = ciphertext.length - 6;
  return ciphertext.slice(0, at) + (ciphertext[at] === 'A' ? 'B' : 'A') + ciphertext.slice(at + 1);
}

for (const release of RELEASES) {
  describe(`replies of the ${release} Vault`, { timeout: 120_000 }, () => {
    let vault: DevVault;
    const oldest = release === 'oldest';

    before(async () => {
      vault = await startDevVault({ release, dir: folder.sub(release) });
      await prepareTransit(vault.admin);
      await vault.admin.createKey('rsa', { type: 'rsa-2048' });
    });
    after(() => vault?.stop());

    const root = (path: string, body?: object): Asked => ({
      address: vault.address,
      token: 'root',
      path,
      ...(body === undefined ? { method: 'GET' } : { body }),
    });

    const encrypted = async (key: string): Promise<string> => {
      const plaintext = PLAIN.toString('base64');
      const { data } = await vault.admin.write(`transit/encrypt/${key}`, { plaintext });
      return String(data?.['ciphertext']);
    };

    /** A good, a damaged and a good item; the class, and what each item got. */
    const mixed = async (key: string, bad: (good: string) => string) => {
      const good = await encrypted(key);
      const batch_input = [good, bad(good), good].map((ciphertext) => ({ ciphertext }));
      const response = await ask(root(`transit/decrypt/${key}`, { batch_input }));
      const holds: Content = { field: 'plaintext', items: 3 };
      const body = JSON.parse(response.text) as {
        errors?: string[];
        data?: { batch_results: { plaintext?: string; error?: string }[] };
      };
      const items = body.data?.batch_results.map(({ error, plaintext }) => error || plaintext);
      return { class: classOf(response, holds), said: items ?? body.errors };
    };

    it('a damaged item among good ones: the results in 400, or 500 for all of them', async () => {
      const plaintext = PLAIN.toString('base64');
      const expected = oldest
        ? {
            class: '500 invalid of the request',
            said: ['1 error occurred:\n\t* cipher: message authentication failed\n\n'],
          }
        : {
            class: '400 answer',
            said: [plaintext, 'cipher: message authentication failed', plaintext],
          };
      assert.deepEqual(await mixed(KEY, flipped), expected);
    });

    it('a damaged item of an RSA key: the results in 500, or 500 for all of them', async () => {
      const { class: kind, said } = await mixed('rsa', flipped);
      assert.equal(kind, oldest ? '500 invalid of the request' : '500 answer');
      assert.match(String(said), /decryption error/);
    });

    it('an item of a version that it does not know: the results, that item in words', async () => {
      const { class: kind, said } = await mixed(KEY, (good) => good.replace(':v1:', ':v9:'));
      assert.equal(kind, oldest ? '200 answer' : '400 answer');
      assert.match(String(said?.[1]), /invalid ciphertext: version is too new/);
      const batch_input = [{ plaintext: PLAIN.toString('base64'), key_version: 9 }];
      const response = await ask(root(`transit/encrypt/${KEY}`, { batch_input }));
      assert.match(response.text, /requested version for encryption is higher than the latest key/);
      const holds: Content = { field: 'ciphertext', items: 1 };
      assert.match(classOf(response, holds), /answer$/);
    });

    it('refusals of the request, of the token and of the policy', async () => {
      const limited = await vault.admin.createToken({ policies: ['default'] });
      const batch_input = [{ ciphertext: await encrypted(KEY) }];
      const table: readonly (readonly [Asked, string])[] = [
        [root('transit/keys/missing'), '404 denied of the request'],
        [root('transit/decrypt/missing', { batch_input }), '400 denied of the request'],
        [root('nowhere/keys/x'), '404 denied of the request'],
        [root('auth/token/lookup-self', {}), '200 answer'],
        [{ ...root(`transit/keys/${KEY}`), token: 'no' }, '403 unauthenticated of the request'],
        [{ ...root(`transit/keys/${KEY}`), token: limited }, '403 unauthenticated of the request'],
        [
          { address: vault.address, path: 'auth/nowhere/login', body: {} },
          oldest ? '400 invalid of the request' : '403 unauthenticated of the request',
        ],
      ];
      for (const [asked, expected] of table)
        assert.equal(classOf(await ask(asked), 'data'), expected, asked.path);
    });

    it('what is done leaves 204 without a body', async () => {
      const token = await vault.admin.createToken({ policies: ['default'] });
      const asked = { ...root('auth/token/revoke-self', {}), token };
      assert.equal(classOf(await ask(asked), 'nothing'), '204 answer');
    });
  });
}

describe('a Vault that cannot serve', { timeout: 120_000 }, () => {
  for (const release of RELEASES) {
    it(`the ${release}, not initialised, sealed, and in recovery mode: the server is down`, async () => {
      const dir = folder.sub(`${release}-down`);
      await using vault = await startSealableVault({ release, dir, initialise: false });
      const { address } = vault;
      const login: Asked = { address, path: 'auth/approle/login', body: {} };
      const down = '503 unavailable of the server';
      assert.equal(classOf(await ask(login), 'auth'), down);
      await vault.initialise();
      await vault.seal();
      assert.equal(classOf(await ask(login), 'auth'), down);
      assert.equal(
        classOf(await ask({ ...login, token: 'x', path: 'transit/decrypt/k' }), 'data'),
        down,
      );
      const health = await ask({ address, method: 'GET', path: 'sys/health' });
      assert.equal(classOf(health, 'health'), '503 answer');
      await vault.stop();

      const recovering = await startServer(
        {
          program: testServers()[`vault-${release}`],
          args: ['server', '-recovery', `-config=${join(dir, `vault-${vault.port}.json`)}`],
          env: { HOME: dir },
          logFile: join(dir, 'recovery.log'),
        },
        30_000,
        async () => (await ask(login)).status > 0,
      );
      try {
        const reply = await ask(login);
        assert.equal(reply.text, '404 page not found\n');
        assert.match(classOf(reply, 'auth'), /^404 not Vault: .*recovery mode/);
      } finally {
        await recovering.stop();
      }
    });
  }

  it('an address in http of one that speaks TLS is named as that', async () => {
    const dir = folder.sub('tls');
    await using encrypted = await startTlsVault(dir);
    const { vault } = encrypted;
    await prepareTransit(vault.admin);
    const address = vault.address.replace('https:', 'http:');
    await using plugin = await startWithToken(vault.admin, address, folder.sub('plain'));
    await assert.rejects(
      plugin.client.v2.encrypt(PLAIN, 'uid'),
      /it speaks TLS: is the address https/,
    );
  });
});
