import assert from 'node:assert/strict';
import { chmodSync, closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createNotifier, type NotifyChannel, notifyChannel } from '../../../src/system/notify.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const full = (): Error => Object.assign(new Error('full'), { code: 'EAGAIN' });

/** A channel that remembers what went through it, and a notifier on it. */
function notifierOn(send: NotifyChannel['send'] = async () => undefined, direct = true) {
  const clock = createDrivenClock();
  const sent: string[] = [];
  const failures: string[] = [];
  const channel: NotifyChannel = {
    direct,
    send: async (message) => {
      await send(message);
      sent.push(message.join('|'));
    },
  };
  const notifier = createNotifier({
    ...{ channel, clock, monotonicUsec: () => 17n },
    failed: (why) => failures.push(why),
  });
  return { notifier, clock, sent, failures };
}

describe('telling systemd', () => {
  it('says ready, a status where it is a new one, reloading with the time, and stopping', async () => {
    const { notifier, sent, failures } = notifierOn();
    notifier.ready();
    notifier.status('waiting');
    notifier.status('waiting');
    notifier.reloading();
    notifier.ready();
    await notifier.alive();
    await notifier.stopping();
    assert.deepEqual(sent, [
      'READY=1|NOTIFYACCESS=main',
      'STATUS=waiting',
      'RELOADING=1|MONOTONIC_USEC=17',
      'READY=1|STATUS=waiting',
      'WATCHDOG=1',
      'STOPPING=1|STATUS=stopping',
    ]);
    assert.deepEqual(failures, []);
  });

  it('forbids nobody else where it is not the one that sends', async () => {
    const { notifier, sent } = notifierOn(undefined, false);
    notifier.ready();
    await notifier.stopping();
    assert.equal(sent[0], 'READY=1');
  });

  it('cannot be made to say more by a status with line feeds', async () => {
    const { notifier, sent } = notifierOn();
    notifier.status(`Vault said:\nMAINPID=1\r\n\u0000\u2028${'x'.repeat(5_000)}`);
    await settle();
    assert.equal(sent.length, 1);
    assert.match(sent[0] ?? '', /^STATUS=Vault said: MAINPID=1 x+$/);
    assert.ok((sent[0] ?? '').length < 600);
  });

  it('tries again while the queue of systemd is full, in order', async () => {
    let refusals = 3;
    const { notifier, clock, sent, failures } = notifierOn(async () => {
      refusals -= 1;
      if (refusals >= 0) throw full();
    });
    notifier.ready();
    notifier.status('waiting');
    await clock.advance(1_000);
    assert.deepEqual([sent, failures], [['READY=1|NOTIFYACCESS=main', 'STATUS=waiting'], []]);
  });

  it('gives up a message that cannot be sent, says so once, and goes on', async () => {
    let broken = true;
    const { notifier, sent, failures } = notifierOn(async () => {
      if (broken) throw Object.assign(new Error('gone'), { code: 'ECONNREFUSED' });
    });
    notifier.ready();
    await notifier.alive();
    broken = false;
    await notifier.alive();
    assert.deepEqual([sent, failures], [['WATCHDOG=1'], ['ECONNREFUSED']]);
  });

  it('repeats a message that a program could not hand over, but for the watchdog, whose next one follows', async () => {
    const tried: string[] = [];
    const { notifier, clock, sent, failures } = notifierOn(async ([first = '']) => {
      tried.push(first);
      if (tried.length < 4) throw new Error('systemd-notify ended with SIGTERM');
    }, false);
    await notifier.alive();
    notifier.ready();
    await clock.advance(1_000);
    assert.deepEqual(tried, ['WATCHDOG=1', 'READY=1', 'READY=1', 'READY=1']);
    assert.deepEqual([sent, failures.length], [['READY=1'], 1]);
  });

  it('gives up a message that no program hands over, and goes on with the next', async () => {
    const { notifier, clock, sent, failures } = notifierOn(async ([first]) => {
      if (first === 'READY=1') throw new Error('systemd-notify ended with SIGTERM');
    }, false);
    notifier.ready();
    notifier.status('waiting');
    await clock.advance(1_000);
    assert.deepEqual([sent, failures.length], [['STATUS=waiting'], 1]);
  });

  it('sends the message of the watchdog beside programs that wait for systemd, three at most', async () => {
    const started: string[] = [];
    const systemd = Promise.withResolvers<void>();
    const { notifier, sent } = notifierOn(([first = '']) => {
      started.push(first);
      return systemd.promise;
    }, false);
    notifier.ready();
    notifier.status('waiting');
    const messages = [1, 2, 3, 4].map(() => notifier.alive());
    assert.deepEqual(started, ['READY=1', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1']);
    systemd.resolve();
    await Promise.all(messages);
    await notifier.alive();
    assert.equal(sent.filter((message) => message === 'WATCHDOG=1').length, 4);
  });

  it('has one write at a time where it writes itself: the threads for it are few', async () => {
    let started = 0;
    const { notifier } = notifierOn(() => {
      started += 1;
      return new Promise(() => undefined);
    });
    for (let i = 0; i < 4; i += 1) void notifier.alive();
    await settle();
    assert.equal(started, 1);
  });

  it('ends within a second where nobody reads, and leaves no timer', async () => {
    const { notifier, clock } = notifierOn(() => new Promise(() => undefined));
    notifier.ready();
    let ended = false;
    void notifier.stopping().then(() => {
      ended = true;
    });
    await clock.advance(999);
    assert.equal(ended, false);
    await clock.advance(1);
    assert.deepEqual([ended, clock.pending], [true, 0]);
  });

  it('does nothing where nobody wants to know', async () => {
    const clock = createDrivenClock();
    const notifier = createNotifier({
      channel: notifyChannel({}, [{ fd: 3, name: 'kms' }]),
      clock,
      failed: () => assert.fail(),
    });
    notifier.ready();
    await notifier.alive();
    await notifier.stopping();
    assert.equal(clock.pending, 0);
  });
});

describe('the way to systemd', () => {
  it('is the inherited socket named notify, before NOTIFY_SOCKET', async (t) => {
    const file = join(temporaryFolder(t), 'datagrams');
    const fd = openSync(file, 'w');
    t.after(() => closeSync(fd));
    const others = [
      { fd: 0, name: 'other' },
      { fd, name: 'notify' },
    ];
    const channel = notifyChannel({ NOTIFY_SOCKET: '/run/none' }, others, '/nonexistent');
    assert.equal(channel?.direct, true);
    await channel?.send(['READY=1', 'STATUS=a b']);
    assert.equal(readFileSync(file, 'utf8'), 'READY=1\nSTATUS=a b');
  });

  it('is systemd-notify without one, with nothing of our environment but the socket', async (t) => {
    const folder = temporaryFolder(t);
    const [program, seen] = [join(folder, 'systemd-notify'), join(folder, 'seen')];
    writeFileSync(
      program,
      `#!/bin/sh\nfor a in "$@" "$NOTIFY_SOCKET" "\${VAULT_TOKEN-none}"; do echo "$a"; done > ${seen}\n`,
    );
    chmodSync(program, 0o755);
    const env = { NOTIFY_SOCKET: '/run/systemd/notify', VAULT_TOKEN: 'planted' };
    const channel = notifyChannel(env, [], program);
    assert.equal(channel?.direct, false);
    await channel?.send(['READY=1', 'STATUS=a b']);
    assert.deepEqual(readFileSync(seen, 'utf8').trimEnd().split('\n'), [
      'READY=1',
      'STATUS=a b',
      '/run/systemd/notify',
      'none',
    ]);
  });

  it('fails where systemd-notify is not there or ends badly', async (t) => {
    const none = join(temporaryFolder(t), 'none');
    assert.equal(existsSync(none), false);
    for (const program of [none, '/bin/false']) {
      const channel = notifyChannel({ NOTIFY_SOCKET: '/run/systemd/notify' }, [], program);
      await assert.rejects(async () => channel?.send(['READY=1']));
    }
  });
});
