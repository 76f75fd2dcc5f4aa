/**
 * systemd/restart against a systemctl of the test, which copies of the real one: `show --value`, `cat` with
 * all drop-ins in their order, and the exit code of starting a oneshot unit. With the real one it runs in
 * the booted machines.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { ROOT } from './executable.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { needTools } from './packages-built.ts';
import { debianTree, type Tree } from './packages-tree.ts';
import { baseTree } from './trees.ts';

const PACKAGES = ['passwd', 'rpm', 'systemd'];
const PREFLIGHT = 'preflight --running --inherited /run/trousseau/kms.sock';
const SERVE = 'ExecStart=/usr/bin/trousseau serve --config /etc/trousseau/config.yaml';

/** Keeps the unit of the proof, and says that it failed, or did nothing, where the test wants that. */
const SYSTEMCTL = `#!/bin/sh
echo "$*" >>/root/asked
[ -z "\${POSIXLY_CORRECT-}" ] || { echo 'Type=notify'; exit; }
case "$*" in
*--property=ActiveState*) cat /root/active ;;
*--property=LoadState' 'trousseau.socket) case $(cat /root/socket) in unloaded) echo bad-setting ;; *) echo loaded ;; esac ;;
*--property=LoadState*) cat /root/load ;;
*--property=Listen' 'trousseau.socket) cat /root/listen ;;
*--property=MainPID*) if grep -q '^try-restart ' /root/asked; then cat /root/after; else cat /root/before; fi ;;
'is-enabled trousseau.service') cat /root/enabled ;;
*--property=DynamicUser*) cat /root/dynamic ;;
*--property=NeedDaemonReload*)
  # Only where the script has had the files read, and nobody has changed them since.
  if grep -q '^daemon-reload$' /root/asked; then cat /root/stale; else echo yes; fi
  ;;
*--property=ExecStartPre' '*) cat /root/pre ;;
*--property=ExecStartPost' '*) cat /root/post ;;
*--property=Requires' '*) echo sysinit.target -.mount ;;
*--property=BindsTo' '*) cat /root/binds ;;
*' is-active -- away.service') exit 3 ;;
*' is-active -- trousseau.socket') [ "$(cat /root/socket)" != inactive ] || exit 3 ;;
'is-enabled trousseau.socket') cat /root/socket ;;
*' cat '*)
  # systemd 257 colours the headings of sections, as this does.
  if [ "$SYSTEMD_COLORS" = 1 ]; then sed 's/^\\[/\\x1b[0;1;36m&/' /root/unit; else cat /root/unit; fi
  ;;
start\\ trousseau-preflight-*)
  cp "/run/systemd/system/$2" /root/proof
  said=$(sed -n 's/^StandardOutput=file://p' /root/proof)
  case $(cat /root/proved) in
  yes) echo 'proved: configuration: of the test' >"$said" ;;
  no) echo 'NOT PROVED: keys: of the test' >"$said"; exit 1 ;;
  # A condition that does not hold: systemd runs nothing, and is content.
  skipped) ;;
  esac
  ;;
esac
`;

type World = {
  readonly unit?: string;
  readonly active?: string;
  readonly load?: string;
  readonly enabled?: 'enabled' | 'masked' | 'masked-runtime';
  /** `unloaded` is active, and systemd cannot load its unit. */
  readonly socket?: 'enabled' | 'masked' | 'masked-runtime' | 'unloaded' | 'inactive';
  /** Where the socket unit listens. */
  readonly listen?: string;
  readonly proved?: 'yes' | 'no' | 'skipped';
  readonly stale?: 'yes' | 'no' | '';
  readonly pre?: string;
  readonly post?: string;
  readonly binds?: string;
  readonly dynamic?: 'yes' | 'no';
  /** MainPID before and after a restart. */
  readonly before?: string;
  readonly after?: string;
};

type Came = {
  readonly said: string;
  readonly restarted: boolean;
  readonly proof: string;
  /** What systemctl was called with, a line each. */
  readonly asked: string;
};

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  baseTree({ suite: 'trixie', packages: PACKAGES });
}

function restart(
  debian: Tree,
  world: World,
  environment: Readonly<Record<string, string>> = {},
): Came {
  const {
    unit = `[Service]\n${SERVE}\n`,
    active = 'active',
    load = 'loaded',
    enabled = 'enabled',
    socket = 'enabled',
    listen = '/run/trousseau/kms.sock (Stream)\n',
    proved = 'yes',
    stale = 'no',
    pre = '',
    post = '',
    binds = '',
    dynamic = 'no',
    before = '42',
    after = '43',
  } = world;
  mkdirSync(debian.path('/run/systemd/system'), { recursive: true });
  writeFileSync(debian.path('/usr/bin/systemctl'), SYSTEMCTL);
  chmodSync(debian.path('/usr/bin/systemctl'), 0o755);
  copyFileSync(join(ROOT, 'systemd/restart'), debian.path('/root/restart'));
  const answers = {
    unit,
    active,
    load,
    enabled,
    socket,
    listen,
    proved,
    stale,
    pre,
    post,
    binds,
    dynamic,
    before,
    after,
    asked: '',
    proof: '',
  };
  for (const [name, text] of Object.entries(answers))
    writeFileSync(debian.path(`/root/${name}`), text);
  const { status, output } = debian.run(
    'env',
    ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    'sh',
    '/root/restart',
  );
  // A person's script must not go on as if the new process ran.
  assert.equal(status, /WARNING/.test(output) ? 1 : 0, output);
  const left = debian.run('sh', '-c', 'ls /run/*.said /run/systemd/system/trousseau-preflight-*');
  assert.notEqual(left.status, 0, `the proof left something behind: ${left.output}`);
  const asked = readFileSync(debian.path('/root/asked'), 'utf8');
  return {
    said: output,
    restarted: asked.includes('try-restart trousseau.service'),
    proof: readFileSync(debian.path('/root/proof'), 'utf8'),
    asked,
  };
}

/** What the last ExecStart= of a proof runs. */
function runs({ proof }: Came): string | undefined {
  return [...proof.matchAll(/^ExecStart=(.+)$/gm)].at(-1)?.[1];
}

function declare(): void {
  const tree = (t: TestContext): Tree => debianTree(t, 'restart', PACKAGES);

  test('the proof runs what the unit and its drop-ins run, with another command', (t) => {
    const debian = tree(t);
    const preflight = `/usr/bin/trousseau ${PREFLIGHT}`;
    const cases: Readonly<Record<string, string>> = {
      [SERVE]: `${preflight} --config /etc/trousseau/config.yaml`,
      [`${SERVE}\n[Service]\nExecStart=\nExecStart=/usr/bin/trousseau serve -c /x`]: `${preflight} -c /x`,
      'ExecStart = /usr/bin/trousseau serve': preflight,
      [`${SERVE}\n  [Service]\n\tExecStart=\n  ExecStart=/usr/bin/trousseau serve -c /x`]: `${preflight} -c /x`,
      // A failure that systemd is to overlook must not count as a proof.
      'ExecStart=-/usr/bin/trousseau serve': preflight,
      'ExecStart=!-/opt/trousseau/trousseau serve --log-level=warn': `!/opt/trousseau/trousseau ${PREFLIGHT} --log-level=warn`,
    };
    for (const [lines, expected] of Object.entries(cases)) {
      const came = restart(debian, { unit: `# /a\n[Unit]\nRequires=x\n[Service]\n${lines}\n` });
      assert.equal(runs(came), expected, lines);
      assert.equal(came.restarted, true, lines);
      assert.doesNotMatch(came.proof, /Requires/);
    }
  });

  test('the settings of all drop-ins hold for it, and nothing that would outlast or undo it', (t) => {
    const unit = `[Service]\n${SERVE}\nType=notify\nOpenFile=/run/x:notify\n[Install]\nAlso=y\n[Service]\nLoadCredential=a:/b\n`;
    const { proof } = restart(tree(t), { unit });
    assert.match(proof, /^LoadCredential=a:\/b$/m);
    assert.doesNotMatch(proof, /OpenFile|Also/);
    for (const last of [
      'Type=oneshot',
      'Restart=no',
      'RuntimeDirectoryPreserve=yes',
      'SuccessExitStatus=',
      'RestartForceExitStatus=',
      'FailureAction=none',
    ])
      assert.ok(proof.includes(`\n${last}\n`), last);
  });

  test('the proof may write to the folders of the unit, and has systemd give them to nobody', (t) => {
    const debian = tree(t);
    const cases: Readonly<Record<string, string>> = {
      'RuntimeDirectory=trousseau': '/run/trousseau',
      'RuntimeDirectory = a b/c:d': '/run/a /run/b/c',
      '  RuntimeDirectory=a': '/run/a',
      'RuntimeDirectory=a\nRuntimeDirectory=b': '/run/a /run/b',
      'RuntimeDirectory=a\nRuntimeDirectory=\nRuntimeDirectory=b': '/run/b',
      'RuntimeDirectory=a\nRuntimeDirectory=': '',
      'StateDirectory=a': '/var/lib/a',
      'CacheDirectory=a': '/var/cache/a',
      'LogsDirectory=a': '/var/log/a',
    };
    for (const [lines, expected] of Object.entries(cases)) {
      const { proof } = restart(debian, { unit: `[Service]\n${SERVE}\n${lines}\n` });
      assert.doesNotMatch(proof, /^(Runtime|State|Cache|Logs)Directory *=/m, lines);
      const paths = [...proof.matchAll(/^ReadWritePaths=(.*)$/gm)].map(([, path = '']) =>
        path.trim().replaceAll(' -', ' ').replace(/^-/, ''),
      );
      assert.deepEqual(paths, expected === '' ? [] : [expected], lines);
    }
    const unit = `[Service]\n${SERVE}\nStateDirectory=a\n`;
    const { proof } = restart(debian, { unit, dynamic: 'yes' });
    assert.match(proof, /^StateDirectory=a$/m, 'a dynamic user reaches it in no other way');
  });

  test('what a start depends on holds for the proof too', (t) => {
    const unit = `[Unit]\nAfter=a.service\nConditionPathExists=|/a\nAssertFileNotEmpty=\\\n  /b\nBefore=c\n[Service]\n${SERVE}\n[Service]\nExecCondition=/bin/c\n[Unit]\n  ConditionHost=d\n`;
    const { proof } = restart(tree(t), { unit });
    const [head = '', rest = ''] = proof.split('[Service]', 2);
    assert.match(head, /^ConditionPathExists=\|\/a\nAssertFileNotEmpty=\\\n\/b\nConditionHost=d$/m);
    assert.doesNotMatch(proof, /After=|Before=/);
    assert.match(rest, /Service|^ExecStart/m);
    // An empty one would take it away again.
    assert.deepEqual(proof.match(/^ExecCondition=.*$/gm), ['ExecCondition=/bin/c']);
  });

  test('what a person has set for systemd and others changes nothing of what is read', (t) => {
    const debian = tree(t);
    for (const set of [{ SYSTEMD_COLORS: '1', SYSTEMD_URLIFY: '1' }, { POSIXLY_CORRECT: '1' }])
      assert.equal(restart(debian, {}, set).restarted, true, JSON.stringify(set));
  });

  test('specifiers for the name of the unit mean the unit, not its proof', (t) => {
    const unit = `[Service]\n${SERVE}\nLoadCredential=a:/etc/%N/%n\nEnvironment=A=%%n%p%i\n`;
    const { proof } = restart(tree(t), { unit });
    assert.match(proof, /^LoadCredential=a:\/etc\/trousseau\/trousseau\.service$/m);
    assert.match(proof, /^Environment=A=%%ntrousseau%i$/m);
  });

  test('where something is not as it must be, nothing is restarted and a sentence says why', (t) => {
    const debian = tree(t);
    const cases: readonly (readonly [World, RegExp])[] = [
      [{ proved: 'no' }, /NOT PROVED: keys: of the test\n.*NOT restarted: a new process has not/],
      [{ proved: 'skipped' }, /NOT restarted: a condition of its unit .* does not hold/],
      [{ stale: 'yes' }, /NOT restarted: the files of its unit changed after systemd had loaded/],
      [{ pre: '{ path=/bin/a ; }' }, /NOT restarted: it has an ExecStartPre= command/],
      [{ post: '{ path=/bin/a ; }' }, /NOT restarted: it has an ExecStartPost= command/],
      [{ binds: 'away.service' }, /NOT restarted: its unit requires away\.service, which is not/],
      [{ load: 'masked' }, /NOT restarted: its unit is masked/],
      [{ socket: 'unloaded' }, /NOT restarted: the unit of trousseau\.socket is bad-setting/],
      [{ active: '' }, /NOT restarted: systemd does not answer/],
      [{ active: 'maintenance' }, /NOT restarted: trousseau\.service is maintenance/],
      [{ load: '' }, /NOT restarted: systemd does not answer/],
      [{ stale: '' }, /NOT restarted: systemd does not answer/],
      [{ unit: '[Service]\nExecStart=/usr/local/bin/own' }, /NOT restarted: its ExecStart=/],
      [
        { unit: `[Service]\nExecStart=/bin/env \\\n  trousseau serve` },
        /NOT restarted: its ExecStart=/,
      ],
    ];
    for (const [world, why] of cases) {
      const { said, restarted } = restart(debian, world);
      assert.match(said, why);
      assert.match(said, /Once this is repaired: \/usr\/lib\/trousseau\/restart/);
      assert.equal(restarted, false, said);
    }
  });

  test('a mask is never loaded under a process that serves', (t) => {
    const debian = tree(t);
    const nextReload =
      /its unit is masked, and its watchdog ends the process after the next daemon-re/;
    const now = /its unit is masked, and its watchdog ends the process now/;
    const socket = /trousseau\.socket is masked, and a new process would not get its socket/;
    const cases: readonly (readonly [World, RegExp])[] = [
      [{ enabled: 'masked' }, nextReload],
      [{ enabled: 'masked-runtime' }, nextReload],
      [{ enabled: 'masked', load: 'masked' }, now],
      [{ socket: 'masked' }, socket],
      [{ socket: 'masked-runtime' }, socket],
    ];
    for (const [world, why] of cases) {
      const { said, asked, restarted } = restart(debian, world);
      assert.match(said, why);
      assert.doesNotMatch(asked, /daemon-reload/);
      assert.equal(restarted, false);
    }
  });

  test('a plugin that has made its socket itself is restarted without the socket unit', (t) => {
    const came = restart(tree(t), { socket: 'inactive' });
    assert.equal(came.restarted, true);
    assert.doesNotMatch(came.proof, /--inherited/);
  });

  test('the proof is told of the socket that systemd hands over, the first of several', (t) => {
    const debian = tree(t);
    const cases: Readonly<Record<string, string>> = {
      '/run/a_b/kms-1.sock (Stream)\n/run/other.sock (Stream)\n':
        '--running --inherited /run/a_b/kms-1.sock --config',
      '/run/kms@1/a+b:c,d=e~f.sock (Stream)\n':
        '--running --inherited /run/kms@1/a+b:c,d=e~f.sock --config',
      '127.0.0.1:80 (Stream)\n/run/a.sock (Stream)\n': '--running --inherited /run/a.sock --config',
      '@abstract (Stream)\n': '--running --config',
      '/run/a.sock (Datagram)\n': '--running --config',
      "/run/a 'b;.sock (Stream)\n": '--running --config',
      '': '--running --config',
    };
    for (const [listen, expected] of Object.entries(cases)) {
      const came = restart(debian, { listen });
      assert.ok(runs(came)?.includes(expected), `${listen}: ${runs(came)}`);
    }
  });

  test('a socket that the process has and systemd has lost is missed, as after a mask that was loaded', async (t) => {
    const debian = tree(t);
    const path = join(temporaryFolder(t), 'kms.sock');
    const listen = `${path} (Stream)\n`;
    assert.equal(restart(debian, { listen }).restarted, true, 'nobody listens there');
    const server = createServer().listen(path);
    await once(server, 'listening');
    t.after(() => server.close());
    const { said, restarted } = restart(debian, { listen });
    assert.match(
      said,
      /NOT restarted: systemd does not hold .*kms\.sock any more.*: systemctl restart/,
    );
    assert.equal(restarted, false);
    assert.equal(restart(debian, {}).restarted, true, 'it is another path');
    assert.equal(restart(debian, { listen, socket: 'inactive' }).restarted, true, 'no socket unit');
  });

  test('one line says what was done, and where nothing serves there is nothing to prove', (t) => {
    const debian = tree(t);
    const nothing = 'trousseau: nothing was restarted: trousseau.service is';
    const restarted = 'trousseau: trousseau.service was restarted: process 43 runs';
    const cases: readonly (readonly [World, string, boolean])[] = [
      [{ active: 'active' }, `${restarted} instead of process 42`, true],
      [{ active: 'reloading' }, `${restarted} instead of process 42`, true],
      [{ active: 'activating', before: '0' }, restarted, false],
      [{ active: 'activating' }, `${restarted} instead of process 42`, false],
      [{ active: 'inactive' }, `${nothing} inactive`, false],
      [{ active: 'failed' }, `${nothing} failed`, false],
      [{ active: 'deactivating' }, `${nothing} deactivating`, false],
    ];
    for (const [world, line, proved] of cases) {
      const came = restart(debian, world);
      assert.deepEqual([came.said, came.proof !== ''], [`${line}\n`, proved], line);
      assert.equal(came.restarted, line.startsWith(restarted), line);
    }
  });

  test('a limit of starts that is used up is lifted before the process that runs is ended', (t) => {
    const { asked } = restart(tree(t), {});
    const calls = asked.split('\n').filter((line) => / trousseau\.service$/.test(line));
    const [lifted, ended] = ['reset-failed', 'try-restart'].map((word) =>
      calls.indexOf(`${word} trousseau.service`),
    );
    assert.ok(lifted !== undefined && ended !== undefined && 0 <= lifted && lifted < ended, asked);
  });

  test('a restart after which no process runs is a failure', (t) => {
    const { said } = restart(tree(t), { after: '0' });
    assert.match(said, /^trousseau: WARNING: trousseau\.service did not start; see journalctl/);
  });
}
