/** One wish to stop may come as several signals; the second wish is one that comes later. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { interruptible } from '../../../src/cli/interruptible.ts';
import { listenForSignals, SIGNAL_DEBOUNCE_MS } from '../../../src/cli/signals.ts';
import { createLog } from '../../../src/observe/log.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';

type Sent = readonly [after: number, signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP'];

/** What was sent, and what was said of it. */
const DAEMON: readonly [what: string, sent: readonly Sent[], said: readonly string[]][] = [
  ['nothing', [], []],
  ['one', [[0, 'SIGTERM']], ['stopping SIGTERM']],
  [
    'a Ctrl-C and the same one from a parent',
    [
      [0, 'SIGINT'],
      [0, 'SIGINT'],
      [3, 'SIGINT'],
    ],
    ['stopping SIGINT'],
  ],
  [
    'a Ctrl-C and the SIGTERM of a parent that it has ended',
    [
      [0, 'SIGINT'],
      [SIGNAL_DEBOUNCE_MS - 1, 'SIGTERM'],
    ],
    ['stopping SIGINT'],
  ],
  [
    'a second wish',
    [
      [0, 'SIGTERM'],
      [SIGNAL_DEBOUNCE_MS, 'SIGINT'],
    ],
    ['stopping SIGTERM', 'stopping at once SIGINT'],
  ],
  [
    'a second wish after one that came twice',
    [
      [0, 'SIGINT'],
      [1, 'SIGINT'],
      [SIGNAL_DEBOUNCE_MS, 'SIGINT'],
    ],
    ['stopping SIGINT', 'stopping at once SIGINT'],
  ],
  [
    'a reload and an end',
    [
      [0, 'SIGHUP'],
      [1, 'SIGTERM'],
    ],
    ['reload', 'stopping SIGTERM'],
  ],
];

describe('a service that gets signals', () => {
  for (const [what, sent, expected] of DAEMON) {
    it(`${what}: ${expected.join(', ') || 'goes on'}`, async () => {
      const clock = createDrivenClock(1_000);
      const source = new EventEmitter();
      const said: string[] = [];
      const write = (line: string): void => {
        const { msg, signal } = JSON.parse(line);
        said.push(`${msg} ${signal}`);
      };
      const signals = listenForSignals(
        createLog({ level: 'info', format: 'json', write }),
        clock,
        source,
      );
      signals.onHangup(() => void said.push('reload'));
      let ends = '';
      void signals.stop.then(() => {
        ends += 'stop';
      });
      void signals.again.then(() => {
        ends += ' again';
      });
      for (const [after, signal] of sent) {
        await clock.advance(after);
        source.emit(signal);
      }
      await settle();
      assert.deepEqual(said, expected);
      assert.equal(
        ends.includes('stop'),
        expected.some((line) => /^stopping SIG/.test(line)),
      );
      assert.equal(
        ends.includes('again'),
        expected.some((line) => /at once/.test(line)),
      );
      assert.equal(clock.pending, 0);
    });
  }
});

describe('work that a signal ends', () => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`has time to end in order though ${name} comes twice, and not after a second wish`, async () => {
      const clock = createDrivenClock();
      const source = new EventEmitter();
      const finish = Promise.withResolvers<string>();
      let aborted = 0;
      const working = interruptible(
        (signal) => {
          signal.addEventListener('abort', () => {
            aborted += 1;
          });
          return finish.promise;
        },
        clock,
        source,
      );
      source.emit(name);
      await clock.advance(SIGNAL_DEBOUNCE_MS - 1);
      source.emit(name);
      assert.deepEqual([aborted, source.listenerCount(name)], [1, 1]);
      await clock.advance(1);
      // The system's own effect follows: an end at once.
      assert.equal(source.listenerCount(name), 0);
      finish.resolve('done');
      assert.equal(await working, 'done');
      assert.equal(clock.pending, 0);
    });
  }

  it('leaves no listener and no timer behind where it ends first', async () => {
    const clock = createDrivenClock();
    const source = new EventEmitter();
    const work = async (): Promise<string> => {
      source.emit('SIGINT');
      return 'done';
    };
    assert.equal(await interruptible(work, clock, source), 'done');
    assert.deepEqual([source.eventNames(), clock.pending], [[], 0]);
  });
});
