/** The plugin behind its socket, as kube-apiserver calls it. */
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { type ServiceError, status } from '@grpc/grpc-js';
import { createKmsClient, type KmsClient } from '../../kms/client.ts';
import { SAMPLE_UID } from '../../kms/v2.ts';
import { fail, type Result, succeed } from '../../providers/errors.ts';
import type { Way } from './way.ts';

export type Plugin = { readonly way: Way; readonly keyId: string };

/** Connects and asks for Status; fails with what to do where it is not there or not ready. */
export async function openPlugin(path: string): Promise<Result<Plugin>> {
  const problem = await socketProblem(path);
  if (problem !== undefined) return fail('unavailable', problem);
  const client = createKmsClient(path);
  const ready = await readyKey(client, path);
  if (!ready.ok) {
    client.close();
    return ready;
  }
  return succeed({ keyId: ready.value, way: pluginWay(client) });
}

async function socketProblem(path: string): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isSocket()) return `${path} is not a socket: name listen.socket`;
    const connection = createConnection(path);
    await once(connection, 'connect');
    connection.destroy();
    return undefined;
  } catch (error) {
    return socketAdvice(path, (error as NodeJS.ErrnoException).code);
  }
}

/** What to do about a socket that cannot be used, by the kernel's reason. */
export function socketAdvice(path: string, code: string | undefined): string {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `there is no socket at ${path}: is the plugin running, and is this the listen.socket of its configuration?`;
    case 'EACCES':
    case 'EPERM':
      return `permission denied at ${path}: run this as root or as the user that runs the plugin`;
    case 'ECONNREFUSED':
      return `nobody listens at ${path}: the plugin has ended and left its socket; start it again`;
    default:
      return `cannot connect to ${path}: ${code ?? 'unknown error'}`;
  }
}

async function readyKey(client: KmsClient, path: string): Promise<Result<string>> {
  try {
    const { healthz, key_id } = await client.v2.status();
    return healthz === 'ok' ? succeed(key_id) : fail('unavailable', notReady(path, healthz));
  } catch (error) {
    const { code, details } = error as ServiceError;
    if (code === status.UNIMPLEMENTED) {
      return fail(
        'invalid',
        `what listens at ${path} does not answer KMS v2: is v2 in listen.apis of its configuration?`,
      );
    }
    return fail('unavailable', notReady(path, details));
  }
}

function notReady(path: string, why: string): string {
  return `the plugin at ${path} is not ready: ${why}; its /readyz says more, and there is nothing to measure until it is`;
}

function pluginWay(client: KmsClient): Way {
  let uid = 0;
  const nextUid = (): string => {
    uid += 1;
    return `${SAMPLE_UID}${uid}`;
  };
  return {
    name: 'plugin',
    encrypt: (plaintext) => settled(client.v2.encrypt(plaintext, nextUid())),
    async decrypt(sealed) {
      const answer = await settled(client.v2.decrypt({ ...sealed, uid: nextUid() }));
      return answer.ok ? succeed(answer.value.plaintext) : answer;
    },
    stop: async () => client.close(),
  };
}

async function settled<T>(call: Promise<T>): Promise<Result<T>> {
  try {
    return succeed(await call);
  } catch (error) {
    return fail('unavailable', (error as ServiceError).message, { cause: error });
  }
}
