/** Under a real systemd: an upgrade restarts the service, and no call is lost meanwhile. */
import assert from 'node:assert/strict';
import { copyFileSync, cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { bootMachine, lacking, type Machine } from './nspawn.ts';
import { BUILD_TOOLS, buildPackages, toolsThere } from './packages-built.ts';

const CONFIG = `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
providers:
  - name: here
    local: {keyringFile: /var/lib/trousseau/keyring.json}
`;
/** The build of this tree, in a place where trousseau.service may execute it. */
const PROGRAM = '#!/bin/sh\nexec /opt/trousseau/trousseau "$@"\n';
const AT_A_TIME = 4;

const why = lacking();
if (why !== undefined) process.stderr.write(`left out: an upgrade under systemd; ${why}\n`);
else if (toolsThere('an upgrade under systemd', BUILD_TOOLS)) {
  const work = mkdtempSync(join(tmpdir(), 'trousseau-test-'));
  after(() => rmSync(work, { recursive: true, force: true }));

  test('an upgrade under load restarts the service, keeps the socket and loses no call', async () => {
    const old = buildPackages(work, '3.1.0-rc.1', PROGRAM);
    const newer = buildPackages(work, '3.1.0', PROGRAM);
    await using machine = await bootMachine('trixie', join(work, 'console.log'));
    cpSync('dist/trousseau', join(machine.root, 'opt/trousseau/trousseau'), { recursive: true });
    cpSync('dist/lib', join(machine.root, 'opt/trousseau/lib'), { recursive: true });

    await install(machine, old.file('deb'));
    assert.equal(await active(machine, 'trousseau.socket'), 'inactive');
    assert.equal(await active(machine, 'trousseau.service'), 'inactive');
    writeFileSync(join(machine.root, 'etc/trousseau/config.yaml'), CONFIG);
    await machine.must([
      'install',
      '-d',
      '-m0700',
      '-otrousseau',
      '-gtrousseau',
      '/var/lib/trousseau',
    ]);
    await machine.must(['trousseau', 'keyring', 'init', '/var/lib/trousseau/keyring.json'], {
      user: 'trousseau',
      group: 'trousseau',
    });
    await machine.must(['systemctl', 'enable', '--now', 'trousseau.socket', 'trousseau.service']);
    const before = await facts(machine);

    const load = startCalls(join(machine.root, 'run/trousseau/kms.sock'));
    await load.atLeast(100);
    await install(machine, newer.file('deb'));
    await load.atLeast(100);
    const { failures, count } = await load.stop();
    assert.deepEqual(failures, []);
    assert.ok(count > 200);

    const then = await facts(machine);
    assert.notEqual(then.pid, before.pid, 'the service was restarted');
    assert.equal(then.listeningSince, before.listeningSince, 'the socket never stopped');
    assert.equal(await active(machine, 'trousseau.service'), 'active');

    const purged = await machine.must(['dpkg', '--purge', 'trousseau']);
    assert.equal(await active(machine, 'trousseau.socket'), 'inactive');
    assert.ok(existsSync(join(machine.root, 'var/lib/trousseau/keyring.json')), purged);
  });
}

async function install(machine: Machine, file: string): Promise<void> {
  copyFileSync(file, join(machine.root, 'root', basename(file)));
  const env = ['env', 'DEBIAN_FRONTEND=noninteractive', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin'];
  await machine.must([...env, 'dpkg', '--force-confold', '--install', `/root/${basename(file)}`]);
}

async function active(machine: Machine, unit: string): Promise<string> {
  return (await machine.run(['systemctl', 'is-active', unit])).out.trim();
}

async function facts(machine: Machine): Promise<{ pid: string; listeningSince: string }> {
  const show = ['systemctl', 'show', '--value', '--property'];
  return {
    pid: await machine.must([...show, 'MainPID', 'trousseau.service']),
    listeningSince: await machine.must([
      ...show,
      'ActiveEnterTimestampMonotonic',
      'trousseau.socket',
    ]),
  };
}

/** Encrypts and decrypts without a pause until it is stopped. */
function startCalls(socket: string): {
  atLeast(more: number): Promise<void>;
  stop(): Promise<{ count: number; failures: readonly string[] }>;
} {
  const client = createKmsClient(socket);
  const failures: string[] = [];
  let waiting: { readonly until: number; readonly resolve: () => void } | undefined;
  let count = 0;
  let stopped = false;
  const one = async (): Promise<void> => {
    while (!stopped) {
      try {
        const sealed = await client.v2.encrypt(Buffer.alloc(32, count), 'upgrade');
        await client.v2.decrypt({ ...sealed, uid: 'upgrade' });
      } catch (error) {
        failures.push(String(error));
      }
      count += 1;
      if (waiting !== undefined && count >= waiting.until) waiting.resolve();
    }
  };
  const all = Array.from({ length: AT_A_TIME }, one);
  return {
    atLeast: (more) =>
      new Promise((resolve) => {
        waiting = { until: count + more, resolve };
      }),
    async stop() {
      stopped = true;
      await Promise.all(all);
      client.close();
      return { count, failures };
    },
  };
}
