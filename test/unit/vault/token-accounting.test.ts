import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AuthConfig } from '../../../src/config/schema.ts';
import { createLog } from '../../../src/observe/log.ts';
import { succeed } from '../../../src/providers/errors.ts';
import { createLoginMemory } from '../../../src/providers/vault/auth/login-memory.ts';
import { authMethod } from '../../../src/providers/vault/auth/method.ts';
import { createSession } from '../../../src/providers/vault/session.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createCountingVault } from './counting-vault.ts';
import { deniedAt, patient } from './session-under-test.ts';

const INVALID = '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n';
const PATH = 'transit/encrypt/k';
const role = { mount: 'approle', roleID: 'role', secretIDFile: '/id', secretIDWrapped: false };
const kv = { mount: 'secret', path: 't', field: 'token', kvVersion: 2 } as const;

const METHODS: Readonly<Record<string, { auth: AuthConfig; login: string }>> = {
  'a secret id': { auth: { appRole: role }, login: 'auth/approle/login' },
  'a wrapped secret id': {
    auth: { appRole: { ...role, secretIDWrapped: true } },
    login: 'auth/approle/login',
  },
  'a password': {
    auth: { userpass: { mount: 'userpass', username: 'u', passwordFile: '/pw' } },
    login: 'auth/userpass/login/u',
  },
  'a dedicated token': {
    auth: { appRole: role, dedicatedToken: kv },
    login: 'auth/approle/login',
  },
};

/** How long Vault takes for a login: within a request's time, beyond it, and beyond the login's own. */
const LOGIN_TAKES = [0, 2_500, 12_000, 25_000, 60_000];
/** Beyond it another login begins. */
const LOGIN_LIMIT_MS = 30_000;
/** Of those that take longer: one begins every 30 s, and none takes longer than 90 s. */
const MOST_UNDER_WAY = 3;

/** What Vault does when a token is to be given back. */
const REVOCATION = ['works', 'fails at first, because Vault is sealed'] as const;

/** What happens after the first login began. */
const EVENTS = [
  'nothing',
  'the callers leave',
  'the token is revoked',
  'the token is renewed',
  'the token cannot be renewed, so that another login follows',
  'a stop, as by SIGTERM or by a reload that is overtaken',
] as const;

function sessionOn(method: keyof typeof METHODS) {
  const clock = createDrivenClock(1_800_000_000_000);
  const vault = createCountingVault(clock);
  const memory = createLoginMemory(clock);
  const lines: string[] = [];
  const log = createLog({ level: 'debug', format: 'json', write: (line) => void lines.push(line) });
  const auth: AuthConfig = METHODS[method]?.auth ?? {};
  const secret = auth.appRole?.secretIDWrapped === true ? 'hvs.wrapping' : 'secret';
  const session = createSession({
    method: authMethod(auth, async () => secret, memory.unwrapped),
    vault: 'https://vault.example',
    memory,
    send: vault.send,
    refresh: async () => succeed(undefined),
    clock,
    log,
  });
  return { clock, vault, session, lines };
}

type UnderTest = ReturnType<typeof sessionOn>;

/** The tokens of logins that the session uses: none where somebody else made the token. */
async function inUse({ session, clock, vault }: UnderTest): Promise<readonly string[]> {
  const asked = session.token(patient());
  await clock.advance(0);
  const token = await Promise.race([asked, settle().then(() => undefined)]);
  return token?.ok === true ? vault.live().filter((live) => live === token.value) : [];
}

/** Callers as kube-apiserver is one: each waits 3 s, and then another one comes. */
async function callFor({ session, clock }: UnderTest, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 3_000) {
    const caller = new AbortController();
    const asked = session.token(caller.signal);
    await clock.advance(3_000);
    caller.abort();
    await asked;
  }
}

describe('tokens granted = tokens in use + tokens given back + at most one under way', () => {
  for (const method of Object.keys(METHODS)) {
    for (const takes of LOGIN_TAKES) {
      for (const revocation of REVOCATION) {
        for (const event of EVENTS) {
          it(`${method}, a login of ${takes} ms, ${event}; giving back ${revocation}`, async () => {
            const under = sessionOn(method);
            const { clock, vault, session } = under;
            const login = METHODS[method]?.login ?? '';
            if (takes > 0) vault.takes.set(login, takes);
            const first = new AbortController();
            const asked = session.token(first.signal);
            await settle();
            const sealFor = async (ms: number): Promise<void> => {
              vault.sealed = revocation !== 'works';
              await clock.advance(ms);
              vault.sealed = false;
            };
            switch (event) {
              case 'the callers leave':
                first.abort();
                break;
              case 'a stop, as by SIGTERM or by a reload that is overtaken': {
                const stopped = session.stop();
                vault.sealed = revocation !== 'works';
                await clock.advance(5_000);
                await stopped;
                vault.sealed = false;
                await clock.advance(120_000);
                await session.underWay();
                break;
              }
              default:
                await clock.advance(takes);
            }
            if (event !== 'a stop, as by SIGTERM or by a reload that is overtaken') {
              await callFor(under, 90_000);
              const [token] = await inUse(under);
              if (event === 'the token is revoked' && token !== undefined) {
                vault.revoke(token);
                void session.replace(token, deniedAt(PATH, INVALID), patient());
                await settle();
                await sealFor(15_000);
              }
              if (event === 'the token is renewed') await sealFor(2_400_000);
              if (event.startsWith('the token cannot be renewed') && token !== undefined) {
                vault.renewable.yes = false;
                vault.revoke(token);
                void session.replace(token, deniedAt(PATH, INVALID), patient());
                await callFor(under, 90_000);
                await clock.advance(2_400_000);
                await sealFor(15_000);
              }
              await callFor(under, 120_000);
              const used = await inUse(under);
              const others = vault.live().filter((token) => !used.includes(token));
              const most = takes > LOGIN_LIMIT_MS ? MOST_UNDER_WAY : 0;
              assert.ok(others.length <= most, `${others} are live and not in use`);
              if (takes <= LOGIN_LIMIT_MS)
                assert.equal(used.length, method === 'a dedicated token' ? 0 : 1);
              const stopped = session.stop();
              await clock.advance(5_000);
              await stopped;
              await clock.advance(120_000);
            } else {
              await asked;
            }
            assert.deepEqual(vault.live(), []);
            const sealedAtStop = event.startsWith('a stop') && revocation !== 'works' && takes > 0;
            if (sealedAtStop && vault.granted.length > 0)
              assert.match(under.lines.join(''), /not given back|no answer yet/);
            assert.ok(vault.granted.length > 0 || event.startsWith('a stop'));
            assert.equal(clock.pending, 0, 'no timer is left');
          });
        }
      }
    }
  }
});
