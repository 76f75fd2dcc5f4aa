import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Running, RunningReload } from '../../../src/cli/admin-client.ts';
import { type Candidate, createReloader, type Reloader } from '../../../src/cli/reload.ts';
import { answers } from '../../../src/cli/reload-command.ts';
import type { ResolvedConfig } from '../../../src/config/environment.ts';
import { type ConfigResult, loadConfig } from '../../../src/config/load.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { settle } from '../driven-clock.ts';

const FILE = '/etc/trousseau/config.yaml';

function text(keyring: string): string {
  return `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
providers:
  - name: here
    local: {keyringFile: /${keyring}}
`;
}

type Attempt = {
  readonly keyring: string;
  readonly evenIfSame: boolean;
  readonly signal: AbortSignal;
  readonly end: (candidate: 'good' | string) => void;
};

type World = {
  readonly reloader: Reloader;
  /** What the file holds. */
  content: string;
  /** Happens while the file is read. */
  duringRead: () => void;
  readonly attempts: Attempt[];
  readonly taken: string[];
  readonly discarded: string[];
  readonly errors: string[];
};

function world(): World {
  const made: World = {
    reloader: createReloader({
      seen: text('a'),
      read: async () => {
        made.duringRead();
        return { fingerprint: made.content, result: load(made.content) };
      },
      attempt: (config, evenIfSame, signal) => {
        const keyring = nameOf(config);
        const { promise, resolve } = Promise.withResolvers<Candidate>();
        const end = (outcome: string): void =>
          resolve(
            outcome === 'good'
              ? {
                  ok: true,
                  warnings: [],
                  take: async () => void made.taken.push(keyring),
                  discard: async () => void made.discarded.push(keyring),
                }
              : { ok: false, why: outcome },
          );
        signal.addEventListener('abort', () => end('aborted'));
        made.attempts.push({ keyring, evenIfSame, signal, end });
        return promise;
      },
      log: { ...silentLog, error: (_message, fields) => made.errors.push(String(fields?.['why'])) },
      now: () => new Date(0),
    }),
    content: text('a'),
    duringRead: () => undefined,
    attempts: [],
    taken: [],
    discarded: [],
    errors: [],
  };
  return made;
}

function load(content: string): ConfigResult {
  return loadConfig(content, FILE, {});
}

function nameOf({ providers: [first] }: ResolvedConfig): string {
  assert.ok(first !== undefined && 'local' in first);
  return first.local.keyringFile.slice(1);
}

describe('the report that answers a request', () => {
  const reload = (requests: number | undefined, at = 'now'): RunningReload => ({
    ...{ at, ok: true, why: undefined, requests },
  });
  const running = (reloadRequests: number | undefined, last?: RunningReload): Running => ({
    ...{ keyIds: undefined, keyId: undefined, reloadRequests, reload: last },
  });
  const cases: Readonly<
    Record<string, [before: Running, report: RunningReload, isAnswer: boolean]>
  > = {
    'is of a trial that began after the request': [running(0), reload(1), true],
    'is of a later request of somebody else': [running(1, reload(1, 'before')), reload(3), true],
    'is not of a change of the file before it': [running(0), reload(0), false],
    'is not of an earlier request whose trial ends late': [running(2), reload(2), false],
    'is not the report that was there': [running(1, reload(1)), reload(1), false],
    'is a new one, of a process that does not count': [
      running(undefined, reload(undefined, 'before')),
      reload(undefined),
      true,
    ],
    'is not the old one, of a process that does not count': [
      running(undefined, reload(undefined)),
      reload(undefined),
      false,
    ],
  };
  for (const [title, [before, report, isAnswer]] of Object.entries(cases)) {
    it(title, () => assert.equal(answers(report, before), isAnswer));
  }
});

describe('a reload', () => {
  it('takes what was tried, and says so', async () => {
    const it = world();
    assert.equal(it.reloader.report(), undefined);
    it.content = text('b');
    it.reloader.look();
    await settle();
    assert.deepEqual(it.taken, []);
    it.attempts[0]?.end('good');
    await settle();
    assert.deepEqual(it.taken, ['b']);
    assert.deepEqual(it.reloader.report(), {
      at: '1970-01-01T00:00:00.000Z',
      ok: true,
      requests: 0,
    });
  });

  it('does nothing for an event where the content is what it was', async () => {
    const it = world();
    it.reloader.look();
    await settle();
    assert.deepEqual([it.attempts.length, it.reloader.report()], [0, undefined]);
  });

  it('tries an unchanged file when somebody asks for it', async () => {
    const it = world();
    it.reloader.now();
    await settle();
    assert.equal(it.attempts[0]?.evenIfSame, true);
    it.attempts[0].end('good');
    await settle();
    assert.deepEqual(it.taken, ['a']);
  });

  it('leaves the old one where the new one is wrong, with file, line and field, and once', async () => {
    const it = world();
    it.content = text('b').replace('name: here', 'nam: here');
    it.reloader.look();
    await settle();
    it.reloader.look();
    await settle();
    assert.equal(it.attempts.length, 0);
    assert.equal(it.errors.length, 1);
    assert.match(
      it.errors[0] ?? '',
      /^\/etc\/trousseau\/config\.yaml:4:\d+: providers\[0\]\.nam.*; \/etc\/trousseau/,
    );
    assert.deepEqual(it.reloader.report(), {
      at: '1970-01-01T00:00:00.000Z',
      ok: false,
      why: it.errors[0],
      requests: 0,
    });
  });

  it('makes hold what no trial is about, though the trial has failed', async () => {
    const holds: string[] = [];
    const errors: string[] = [];
    const reloader = createReloader({
      seen: text('a'),
      read: async () => ({ fingerprint: text('b'), result: load(text('b')) }),
      attempt: async () => ({ ok: false, why: 'away', take: async () => void holds.push('b') }),
      log: { ...silentLog, error: (_message, fields) => errors.push(String(fields?.['why'])) },
    });
    reloader.now();
    await settle();
    assert.deepEqual([holds, errors, reloader.report()?.ok], [['b'], ['away'], false]);
  });

  it('leaves the old one where the new one does not work, and forgets that when one does', async () => {
    const it = world();
    it.content = text('b');
    it.reloader.look();
    await settle();
    it.attempts[0]?.end('the login was refused');
    await settle();
    assert.deepEqual([it.taken, it.errors], [[], ['the login was refused']]);
    it.content = text('a');
    it.reloader.look();
    await settle();
    it.attempts[1]?.end('good');
    await settle();
    assert.deepEqual([it.taken, it.reloader.report()?.ok], [['a'], true]);
  });

  it('is given up for a newer one, and never are two under way', async () => {
    const it = world();
    it.content = text('b');
    it.reloader.look();
    await settle();
    it.content = text('c');
    it.reloader.look();
    await settle();
    assert.deepEqual(
      it.attempts.map(({ keyring, signal }) => [keyring, signal.aborted]),
      [
        ['b', true],
        ['c', false],
      ],
    );
    it.attempts[1]?.end('good');
    await settle();
    assert.deepEqual([it.taken, it.errors], [['c'], []]);
  });

  it('goes on where an event comes for what it is trying', async () => {
    const it = world();
    it.content = text('b');
    it.reloader.look();
    await settle();
    it.reloader.look();
    await settle();
    it.attempts[0]?.end('good');
    await settle();
    assert.deepEqual([it.attempts.length, it.taken], [1, ['b']]);
  });

  it('begins anew when somebody asks during one, and many who ask are one', async () => {
    const it = world();
    for (let i = 0; i < 5; i += 1) it.reloader.now();
    await settle();
    for (let i = 0; i < 5; i += 1) it.reloader.now();
    await settle();
    assert.deepEqual(
      it.attempts.map(({ signal }) => signal.aborted),
      [true, false],
    );
    it.attempts[1]?.end('good');
    await settle();
    assert.deepEqual(it.taken, ['a']);
  });

  it('in the last moment of another one gets a result of its own', async () => {
    const it = world();
    it.content = text('b');
    it.reloader.look();
    await settle();
    it.duringRead = () => {
      it.duringRead = () => undefined;
      it.reloader.now();
    };
    it.attempts[0]?.end('good');
    await settle();
    assert.deepEqual([it.taken, it.attempts.length], [['b'], 2]);
    assert.deepEqual([it.reloader.requests(), it.reloader.report()?.requests], [1, 0]);
    it.attempts[1]?.end('the login was refused');
    await settle();
    const { ok, requests } = it.reloader.report() ?? {};
    assert.deepEqual([ok, requests], [false, 1]);
  });

  it('is the result of all requests before its trial', async () => {
    const it = world();
    for (let i = 0; i < 3; i += 1) it.reloader.now();
    await settle();
    it.reloader.now();
    await settle();
    it.attempts.at(-1)?.end('good');
    await settle();
    assert.deepEqual([it.reloader.requests(), it.reloader.report()?.requests], [4, 4]);
  });

  it('never takes what the file does not hold any more, though nobody told', async () => {
    const it = world();
    it.content = text('b');
    it.reloader.now();
    await settle();
    it.content = text('c');
    it.attempts[0]?.end('good');
    await settle();
    assert.deepEqual([it.taken, it.discarded], [[], ['b']]);
    it.attempts[1]?.end('good');
    await settle();
    assert.deepEqual(it.taken, ['c']);
  });

  it('tries a file again that was another one for a moment', async () => {
    const it = world();
    it.content = text('b');
    it.reloader.look();
    await settle();
    it.content = text('c');
    it.reloader.look();
    it.content = text('b');
    await settle();
    it.attempts.at(-1)?.end('good');
    await settle();
    assert.deepEqual(it.taken, ['b']);
  });

  it('ends at a stop, and takes nothing any more', async () => {
    const it = world();
    it.content = text('b');
    it.reloader.look();
    await settle();
    await it.reloader.stop();
    it.reloader.now();
    await settle();
    assert.deepEqual([it.attempts.length, it.taken, it.errors], [1, [], []]);
  });
});
