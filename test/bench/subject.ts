/** What is measured: Trousseau as it is shipped, and other plugins by their command lines. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKmsClient } from '../../src/kms/client.ts';
import { freePort } from '../servers/free-port.ts';
import { type RunningProcess, startServer } from '../servers/process.ts';

export const TROUSSEAU = join(import.meta.dirname, '../../dist/trousseau');
const START_MS = 20_000;

/** How to start one plugin on one Vault. */
export type Subject = {
  readonly name: string;
  /** Program and arguments; may write files into the folder. */
  command(place: Place): Promise<readonly string[]> | readonly string[];
};

export type Place = {
  readonly dir: string;
  /** `http://127.0.0.1:PORT` */
  readonly vault: string;
  readonly token: string;
  readonly key: string;
  readonly socket: string;
};

export type RunningSubject = AsyncDisposable & {
  readonly name: string;
  readonly socket: string;
  readonly process: RunningProcess;
};

export const trousseau: Subject = trousseauAt('Trousseau', TROUSSEAU);

/** A build of Trousseau, by its program. */
export function trousseauAt(name: string, program: string): Subject {
  return {
    name,
    command({ dir, vault, token, key, socket }) {
      writeFileSync(join(dir, 'token'), token, { mode: 0o600 });
      const config = {
        apiVersion: 'trousseau.io/v1',
        kind: 'KMSPluginConfiguration',
        listen: { socket },
        admin: { socket: join(dir, 'admin.sock') },
        log: { level: 'warn' },
        providers: [
          {
            name: 'vault',
            vault: { addresses: [vault], key, auth: { token: { tokenFile: join(dir, 'token') } } },
          },
        ],
      };
      writeFileSync(join(dir, 'config.yaml'), JSON.stringify(config));
      return [program, 'serve', '--config', join(dir, 'config.yaml')];
    },
  };
}

/**
 * Another plugin: `NAME=COMMAND LINE`, in which `{vault}`, `{token}`, `{key}`, `{socket}` and `{port}`
 * (a free one) are filled in. Throws a sentence where it is not that.
 */
export function peer(text: string): Subject {
  const at = text.indexOf('=');
  const name = text.slice(0, at);
  const words = text.slice(at + 1).split(/\s+/);
  if (at < 1 || !words.some((word) => word.includes('{socket}')))
    throw new Error(`a peer is NAME=COMMAND with {socket} in it, not ${text}`);
  return {
    name,
    async command(place) {
      const port = String(await freePort());
      return words.map((word) =>
        Object.entries({ ...place, port }).reduce(
          (filled, [key, value]) => filled.replaceAll(`{${key}}`, value),
          word,
        ),
      );
    },
  };
}

/** Starts it in a folder of its own, which may be there from its last start; resolves when it encrypts. */
export async function startSubject(
  subject: Subject,
  place: Omit<Place, 'socket'>,
): Promise<RunningSubject> {
  mkdirSync(place.dir, { mode: 0o700, recursive: true });
  const socket = join(place.dir, 'kms.sock');
  const [program = '', ...args] = await subject.command({ ...place, socket });
  const client = createKmsClient(socket);
  try {
    const running = await startServer(
      { program, args, logFile: join(place.dir, 'log') },
      START_MS,
      async () => (await client.v2.encrypt(Buffer.alloc(32, 1), 'start')).ciphertext.length > 0,
    );
    return {
      name: subject.name,
      socket,
      process: running,
      [Symbol.asyncDispose]: () => running.stop(),
    };
  } finally {
    client.close();
  }
}

/** CPU time of a process since its start, in milliseconds. */
export function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  const TICK_MS = 10;
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Anonymous memory of a process, in MiB: what it has for itself. */
export function anonymousMiB(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Anonymous:\s+(\d+)/m.exec(rollup)?.[1] ?? Number.NaN) / 1024;
}
