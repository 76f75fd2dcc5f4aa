import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AuthConfig } from '../../../src/config/schema.ts';
import { createLog } from '../../../src/observe/log.ts';
import { fail, type Result, succeed } from '../../../src/providers/errors.ts';
import { createLoginMemory } from '../../../src/providers/vault/auth/login-memory.ts';
import { authMethod } from '../../../src/providers/vault/auth/method.ts';
import { unsent } from '../../../src/providers/vault/errors.ts';
import type { VaultReply } from '../../../src/providers/vault/reply.ts';
import { createSession } from '../../../src/providers/vault/session.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { type CountingVault, createCountingVault } from './counting-vault.ts';
import { replyOf } from './reply-of.ts';
import { deniedAt, patient } from './session-under-test.ts';

const INVALID = '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n';
const UNWRAP = 'sys/wrapping/unwrap';
const LOOKUP = 'auth/token/lookup-self';
const PATH = 'transit/encrypt/k';
const wrappedAuth = {
  appRole: { mount: 'approle', roleID: 'role', secretIDFile: '/wrapped', secretIDWrapped: true },
};

/** Sessions of one process, one after the other, on one Vault; `file` is what their secret's file holds. */
function processOn(auth: AuthConfig, file: { content: string | undefined }) {
  const clock = createDrivenClock(1_800_000_000_000);
  const vault = createCountingVault(clock);
  const memory = createLoginMemory(clock);
  const lines: string[] = [];
  const log = createLog({ level: 'debug', format: 'json', write: (line) => void lines.push(line) });
  const readSecret = async (place: string): Promise<string> => {
    if (file.content === undefined) throw new Error(`cannot read ${place}: it does not exist`);
    return file.content;
  };
  const start = (send: CountingVault['send'] = vault.send) =>
    createSession({
      method: authMethod(auth, readSecret, memory.unwrapped),
      vault: 'https://vault.example',
      memory,
      send,
      refresh: async () => succeed(undefined),
      clock,
      log,
    });
  const count = (path: string): number => vault.asked.filter((asked) => asked === path).length;
  return { clock, vault, lines, start, count };
}

const said = (outcome: Result<string>): string =>
  outcome.ok ? outcome.value : outcome.error.message;

describe('a limit on the uses of a token', () => {
  it('is said of a token of a file as long as it is there: looking it up again would use it up', async () => {
    const { clock, vault, start, count } = processOn(
      { token: { tokenFile: '/token' } },
      { content: 'hvs.limited' },
    );
    let left = 2;
    const send: CountingVault['send'] = async (request, signal) => {
      await vault.send(request, signal);
      left -= 1;
      return replyOf(request, 200, { data: { ttl: 3600, renewable: true, num_uses: left } });
    };
    const session = start(send);
    for (let n = 0; n < 3; n += 1) {
      assert.match(said(await session.token(patient())), /limited to 1 more uses/);
      await clock.advance(60_000);
    }
    assert.equal(count(LOOKUP), 1);
  });

  for (const [num_uses, warnings] of [
    [4, 1],
    [0, 0],
    [undefined, 0],
  ] as const)
    it(`is warned of once where a role sets it: num_uses ${num_uses}`, async () => {
      const auth = { userpass: { mount: 'userpass', username: 'u', passwordFile: '/p' } };
      const { vault, lines, start } = processOn(auth, { content: 'secret' });
      const send: CountingVault['send'] = async (request, signal) => {
        const replied = await vault.send(request, signal);
        const granted = replied.ok ? (replied.value.body['auth'] as object | undefined) : undefined;
        return granted === undefined
          ? replied
          : replyOf(request, 200, { auth: { ...granted, num_uses } });
      };
      const session = start(send);
      const first = said(await session.token(patient()));
      vault.revoke(first);
      await session.replace(first, deniedAt(PATH, INVALID), patient());
      assert.equal(lines.filter((line) => /token_num_uses/.test(line)).length, warnings);
    });
});

describe('a response-wrapped secret id', () => {
  it('is said to be something else as long as the file holds its token: the try of this process has used it', async () => {
    const { clock, vault, start, count } = processOn(wrappedAuth, { content: 'hvs.of-a-role-id' });
    const send: CountingVault['send'] = async (request, signal) => {
      const answered = await vault.send(request, signal);
      return request.path === UNWRAP ? replyOf(request, 200, { data: { role_id: 'r' } }) : answered;
    };
    const session = start(send);
    for (let n = 0; n < 3; n += 1) {
      assert.match(said(await session.token(patient())), /wrapped is no secret id: write the wrap/);
      await clock.advance(60_000);
    }
    assert.equal(count(UNWRAP), 1);
  });

  for (const [wrapped, content, why] of [
    [true, '66666666-2222-3333-4444-555555555555', /a secret id itself.*leave secretIDWrapped out/],
    [false, 'hvs.CAESIJ0123456789012345678', /a token of Vault.*set secretIDWrapped: true/],
    [false, 's.0123456789012345678901234', /a token of Vault.*set secretIDWrapped: true/],
  ] as const)
    it(`is not sent where the file holds another kind: ${content}, secretIDWrapped ${wrapped}`, async () => {
      const auth = { appRole: { ...wrappedAuth.appRole, secretIDWrapped: wrapped } };
      const { vault, start } = processOn(auth, { content });
      assert.match(said(await start().token(patient())), why);
      assert.deepEqual(vault.asked, []);
    });

  it('counts when Vault answers late: it is unwrapped once, and nobody is accused', async () => {
    const { clock, vault, start, count } = processOn(wrappedAuth, { content: 'hvs.wrapping' });
    vault.takes.set(UNWRAP, 40_000);
    const session = start();
    const first = session.token(patient());
    await clock.advance(30_000);
    assert.doesNotMatch(said(await first), /theft/);
    const second = session.token(patient());
    await clock.advance(10_000);
    assert.equal(said(await second), 'hvs.granted-1');
    assert.equal(count(UNWRAP), 1);
  });

  for (const [what, content, warnings] of [
    ['the file is gone', undefined, 0],
    ['the file is empty', '', 0],
    ['the file holds a wrapping token that Vault does not open', 'hvs.used-by-somebody', 1],
    ['the file is what it was', 'hvs.wrapping', 0],
  ] as const) {
    it(`is used from memory where ${what}: for the next login, and after a reload`, async () => {
      const file: { content: string | undefined } = { content: 'hvs.wrapping' };
      const { vault, start, lines } = processOn(wrappedAuth, file);
      const session = start();
      assert.equal(said(await session.token(patient())), 'hvs.granted-1');
      file.content = content;
      vault.revoke('hvs.granted-1');
      const again = await session.replace('hvs.granted-1', deniedAt(PATH, INVALID), patient());
      assert.equal(said(again), 'hvs.granted-2');
      await session.stop();
      assert.equal(said(await start().token(patient())), 'hvs.granted-3');
      const warned = lines.filter((line) => line.includes('wrapping token not opened'));
      assert.equal(warned.length, warnings);
      for (const line of warned) assert.match(line, /somebody else has used it.*look for theft/);
    });
  }

  it('is a sign of theft only where no try of our own can have used it', async () => {
    const used = processOn(wrappedAuth, { content: 'hvs.used-by-somebody' });
    assert.match(said(await used.start().token(patient())), /look for theft/);
    const cut = processOn(wrappedAuth, { content: 'hvs.wrapping' });
    // The connection breaks after Vault has opened it.
    const session = cut.start(async (request, signal) => {
      const replied = await cut.vault.send(request, signal);
      return request.path === UNWRAP && cut.count(UNWRAP) === 1
        ? fail('unavailable', 'the connection was cut')
        : replied;
    });
    assert.match(said(await session.token(patient())), /was cut/);
    const second = said(await session.token(patient()));
    assert.match(
      second,
      /an earlier try of this plugin, which got no answer, may have used it: write/,
    );
    assert.doesNotMatch(second, /theft/);
  });

  const unused = [
    ['a quota', 429, 'rate limit quota exceeded'],
    ['a Vault that is sealed', 503, 'Vault is sealed'],
    [
      'a standby without an active node',
      500,
      'node is not active but active cluster node not found',
    ],
    ['nobody', undefined, ''],
  ] as const;
  for (const [what, status, words] of unused) {
    it(`is a sign of theft where a try of our own met ${what}, which has opened nothing`, async () => {
      const { start, vault } = processOn(wrappedAuth, { content: 'hvs.used-by-somebody' });
      const others: Result<VaultReply>[] = [];
      const session = start(async (request, signal) => {
        const wrapped = request.path === UNWRAP ? others.pop() : undefined;
        return wrapped ?? (await vault.send(request, signal));
      });
      others.push(
        status === undefined
          ? fail('unavailable', 'refused', { cause: unsent(new Error('refused')) })
          : replyOf({ what: 'unwrapping', holds: 'data' }, status, { errors: [words] }),
      );
      assert.doesNotMatch(said(await session.token(patient())), /theft|have used it/);
      assert.match(said(await session.token(patient())), /look for theft/);
    });
  }
});

describe('a token in a file', () => {
  const auth = { token: { tokenFile: '/token' } };
  for (const [what, content, expected] of [
    ['as it is', 'hvs.x', 'hvs.x'],
    ['with two line feeds', 'hvs.x\n\n', 'hvs.x'],
    ['with a byte order mark', '\ufeffhvs.x\n', 'hvs.x'],
    ['between blanks', ' \thvs.x\r\n ', 'hvs.x'],
    ['with another one below it', 'hvs.x\nhvs.y\n', /\/token holds more than one word/],
    ['as JSON', '{"token":"hvs.x","ttl":600}', /\/token holds more than one word, JSON/],
    ['with an invisible character in it', 'hvs.\u200bx', /\/token holds more than one word/],
    ['of nothing but blanks', ' \n', /\/token is empty/],
  ] as const) {
    it(`${what} is ${typeof expected === 'string' ? 'taken without what is around it' : 'an error that names the file'}`, async () => {
      const { start } = processOn(auth, { content });
      const outcome = said(await start().token(patient()));
      if (typeof expected === 'string') assert.equal(outcome, expected);
      else assert.match(outcome, expected);
    });
  }

  it('is looked up a few times in its last seconds, not with every call', async () => {
    const { clock, vault, start, count } = processOn(auth, { content: 'hvs.dedicated' });
    const ends = clock.now() + 5_000;
    const session = start(async (request, signal) => {
      const replied = await vault.send(request, signal);
      if (request.path !== LOOKUP || !replied.ok || replied.value.kind !== 'answer') return replied;
      const ttl = Math.max(0, Math.floor((ends - clock.now()) / 1_000));
      const data = { ttl, renewable: false, num_uses: 0, expire_time: '2027-01-15T08:00:05Z' };
      return succeed({ ...replied.value, body: { data } });
    });
    for (let call = 0; call < 600; call += 1) {
      await session.token(patient());
      await clock.advance(10);
    }
    assert.ok(count(LOOKUP) <= 10, `${count(LOOKUP)} look-ups in 6 s`);
    await session.stop();
    await settle();
    assert.equal(clock.pending, 0);
  });

  it('that Vault refuses is not called logged in, and is read again now and then', async () => {
    const { clock, lines, start, count } = processOn(auth, { content: 'hvs.revoked' });
    const session = start();
    for (let call = 0; call < 200; call += 1) {
      const token = await session.token(patient());
      assert.ok(token.ok);
      const replaced = await session.replace(token.value, deniedAt(PATH, INVALID), patient());
      assert.match(said(replaced), /\/token was revoked or has expired: write a new token there/);
      await clock.advance(50);
    }
    assert.ok(count(LOOKUP) <= 3, `${count(LOOKUP)} look-ups in 10 s`);
    assert.doesNotMatch(lines.join(''), /"logged in"/);
  });
});

describe('a secret that cannot be read as a short token ends', () => {
  it('is said once, and tried at most once a second', async () => {
    const file: { content: string | undefined } = { content: 'secret' };
    const auth = {
      appRole: { mount: 'approle', roleID: 'role', secretIDFile: '/id', secretIDWrapped: false },
    };
    const { clock, vault, lines, start } = processOn(auth, file);
    vault.renewable.yes = false;
    const session = start();
    assert.ok((await session.token(patient())).ok);
    file.content = '';
    await clock.advance(3_600_000);
    const warned = lines.filter((line) => line.includes('token not renewed yet'));
    assert.equal(warned.filter((line) => line.includes('"warn"')).length, 1);
    assert.ok(warned.length > 2, 'it is tried again');
    await session.stop();
  });
});
