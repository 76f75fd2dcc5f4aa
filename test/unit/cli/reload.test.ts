import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Candidate, createReloader, type Reloader } from '../../../src/cli/reload.ts';
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
  readonly attempts: Attempt[];
  readonly taken: string[];
  readonly discarded: string[];
  readonly errors: string[];
};

function world(): World {
  const made: World = {
    reloader: createReloader({
      seen: text('a'),
      read: async () => ({ fingerprint: made.content, result: load(made.content) }),
      attempt: (config, evenIfSame, signal) => {
        const keyring = nameOf(config);
        const { promise, resolve } = Promise.withResolvers<Candidate>();
        const end = (outcome: string): void =>
          resolve(
            outcome === 'good'
              ? {
                  ok: true,
                  warnings: [],
                  take: () => void made.taken.push(keyring),
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
    assert.deepEqual(it.reloader.report(), { at: '1970-01-01T00:00:00.000Z', ok: true });
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
    });
  });

  it('makes hold what no trial is about, though the trial has failed', async () => {
    const holds: string[] = [];
    const errors: string[] = [];
    const reloader = createReloader({
      seen: text('a'),
      read: async () => ({ fingerprint: text('b'), result: load(text('b')) }),
      attempt: async () => ({ ok: false, why: 'away', take: () => void holds.push('b') }),
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
