/** The plugins of a run: as many control-plane nodes, on one Vault, each with a role of its own. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKmsClient } from '../../src/kms/client.ts';
import { holdSocket, type SocketHolder } from '../daemon/socket-holder.ts';
import { type RunningProcess, startProcess } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { KEY } from '../vault/vault-under-test.ts';
import type { Recorder } from './recorder.ts';

const ANSWER_MS = 20_000;
/** https://github.com/wolfcw/libfaketime: of Debian's package libfaketime. */
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';

export type NodeOptions = {
  readonly index: number;
  readonly dir: string;
  readonly logFile: string;
  /** `dist/trousseau`, or that of another tree. */
  readonly program: string;
  /** Of the servers of Vault, as this node reaches them. */
  readonly addresses: readonly string[];
  /** Whether something else holds its socket, as systemd does, or the plugin binds it itself. */
  readonly socket: 'inherited' | 'bound';
  /** Whether its clock can be set: it runs under libfaketime then. */
  readonly clock: 'settable' | 'real';
  /** Top-level fields of the configuration beside the provider. */
  readonly config: object;
};

export type PluginNode = {
  readonly index: number;
  readonly socket: string;
  /** Starts the process; resolves when the socket answers. */
  start(): Promise<void>;
  /** SIGKILL; resolves when the process has ended. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when the process has ended. */
  stop(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Writes the configuration with this changed, and tells the process by SIGHUP. */
  reload(changes: ConfigChanges): void;
  /** Writes what is no configuration, and tells the process by SIGHUP. */
  reloadBroken(): void;
  writeCredentials(credentials: { readonly roleId?: string; readonly secretId: string }): void;
  /** Sets the clock that the process sees to this one plus so many seconds. */
  setClock(offsetSeconds: number): void;
  /** False from the exit of a process to the start of the next. */
  isRunning(): boolean;
};

export type ConfigChanges = {
  /** Top-level fields. */
  readonly fields?: object;
  /** The addresses of Vault in the opposite order: the plugin makes another provider, which logs in. */
  readonly reversed?: boolean;
};

type Life = {
  readonly pid: number;
  readonly exited: Promise<string>;
  by: 'kill' | 'stop' | undefined;
  running: boolean;
};

/** Makes the folder and its files; nothing runs yet. */
export async function createNode(
  options: NodeOptions,
  recorder: Recorder,
): Promise<PluginNode & AsyncDisposable> {
  const { index, dir, program, logFile } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const socket = join(dir, 'kms.sock');
  const configFile = join(dir, 'config.yaml');
  const clockFile = join(dir, 'clock');
  const env = options.clock === 'settable' ? fakeTime(clockFile) : {};
  const replace = (file: string, content: string): void => {
    writeFileSync(`${file}.new`, content, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  };
  const writeConfig = (changes: ConfigChanges): void =>
    replace(configFile, JSON.stringify(configOf(options, socket, changes), undefined, 2));
  const setClock = (seconds: number): void => replace(clockFile, `${signed(seconds)}\n`);
  writeConfig({});
  setClock(0);
  const holder: SocketHolder | undefined =
    options.socket === 'inherited'
      ? await holdSocket(socket, configFile, logFile, { program, env })
      : undefined;
  let life: Life | undefined;

  const launch = async (): Promise<Pick<Life, 'pid' | 'exited'>> => {
    if (holder !== undefined) {
      const { pid, ended } = await holder.start('kms');
      return {
        pid,
        exited: ended.then((code) => (code > 128 ? `signal ${code - 128}` : `code ${code}`)),
      };
    }
    const args = ['serve', '--config', configFile];
    const running: RunningProcess = await startProcess({ program, args, env, logFile });
    return running;
  };
  const start = async (): Promise<void> => {
    const begun: Life = { ...(await launch()), by: undefined, running: true };
    life = begun;
    recorder.record({ e: 'process', node: index, what: 'start' });
    void begun.exited.then((how) => {
      begun.running = false;
      const meant = begun.by === undefined ? {} : { by: begun.by };
      recorder.record({ e: 'process', node: index, what: 'exit', how, ...meant });
    });
    const client = createKmsClient(socket, 1_000);
    try {
      await waitUntil('the socket answers', ANSWER_MS, () => client.v1.version().then(() => true));
    } finally {
      client.close();
    }
  };
  const send = (signal: NodeJS.Signals): void => {
    if (life?.running === true) process.kill(life.pid, signal);
  };
  const end = async (by: 'kill' | 'stop'): Promise<void> => {
    if (life === undefined) return;
    if (life.running) life.by = by;
    send(by === 'kill' ? 'SIGKILL' : 'SIGTERM');
    await life.exited;
  };
  return {
    index,
    socket,
    start,
    kill: () => end('kill'),
    stop: () => end('stop'),
    pause: () => send('SIGSTOP'),
    resume: () => send('SIGCONT'),
    reload(changes) {
      writeConfig(changes);
      send('SIGHUP');
    },
    reloadBroken() {
      replace(configFile, 'kind: KMSPluginConfiguration\nproviders: {}\n');
      send('SIGHUP');
    },
    writeCredentials({ roleId, secretId }) {
      if (roleId !== undefined) replace(join(dir, 'role-id'), roleId);
      replace(join(dir, 'secret-id'), secretId);
    },
    setClock,
    isRunning: () => life?.running === true,
    async [Symbol.asyncDispose]() {
      send('SIGCONT');
      await end('kill');
      await holder?.[Symbol.asyncDispose]();
    },
  };
}

function configOf(
  { dir, addresses, config }: NodeOptions,
  socket: string,
  { fields = {}, reversed = false }: ConfigChanges,
): object {
  const auth = {
    appRole: { roleIDFile: join(dir, 'role-id'), secretIDFile: join(dir, 'secret-id') },
  };
  const ordered = reversed ? addresses.toReversed() : addresses;
  return {
    apiVersion: 'trousseau.io/v1',
    kind: 'KMSPluginConfiguration',
    listen: { socket },
    admin: { socket: join(dir, 'admin.sock') },
    log: { level: 'info', format: 'json' },
    health: { watchInterval: '1s' },
    providers: [{ name: 'vault', vault: { addresses: ordered, key: KEY, auth } }],
    ...config,
    ...fields,
  };
}

/** The file is read again once a second; timers and deadlines follow the true monotonic clock. */
function fakeTime(file: string): Readonly<Record<string, string>> {
  if (!existsSync(FAKETIME)) throw new Error(`${FAKETIME} is missing: install libfaketime`);
  return {
    LD_PRELOAD: FAKETIME,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
}

function signed(seconds: number): string {
  return seconds < 0 ? `${seconds}s` : `+${seconds}s`;
}
