/** The shipped program, `dist/trousseau`: what it is configured with, and running it to its end. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { environment } from '../servers/process.ts';
import { inTime } from '../servers/wait-until.ts';

export const PROGRAM = join(import.meta.dirname, '../../dist/trousseau');
const END_LIMIT_MS = 20_000;
const ANSWER_MS = 20_000;

export type Ended = { readonly code: number; readonly out: string; readonly err: string };

/** Runs it until it ends by itself. */
export function trousseau(...argv: readonly string[]): Promise<Ended> {
  const options = { env: environment(), timeout: END_LIMIT_MS, killSignal: 'SIGKILL' as const };
  return new Promise((resolve, reject) => {
    execFile(PROGRAM, argv, options, (error, out, err) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ code, out, err });
      else reject(error);
    });
  });
}

/** `providers` with a keyring that is made now, in the folder. */
export async function localProviders(dir: string): Promise<readonly object[]> {
  const keyringFile = join(dir, 'keyring.json');
  const { code, err } = await trousseau('keyring', 'init', keyringFile);
  if (code !== 0) throw new Error(err);
  return [{ name: 'here', local: { keyringFile } }];
}

/** `providers` with a Vault, and a token for it; without addresses the environment names them. */
export function vaultProviders(
  dir: string,
  token: string,
  addresses?: readonly string[],
): readonly object[] {
  const tokenFile = join(dir, 'token');
  writeFileSync(tokenFile, `${token}\n`, { mode: 0o600 });
  const vault = { key: 'kubernetes', auth: { token: { tokenFile } } };
  return [{ name: 'vault', vault: addresses === undefined ? vault : { addresses, ...vault } }];
}

/** Writes a configuration, and answers the name of its file. */
export function writeConfig(dir: string, more: object): string {
  const file = join(dir, 'config.yaml');
  const config = {
    apiVersion: 'trousseau.io/v1',
    kind: 'KMSPluginConfiguration',
    listen: { socket: join(dir, 'kms.sock') },
    admin: { socket: join(dir, 'admin.sock') },
    ...more,
  };
  writeFileSync(file, JSON.stringify(config, undefined, 2)); // JSON is YAML
  return file;
}

export type AdminAnswer = {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
};

/** Asks the admin endpoint, by the path of its socket or by its address; rejects after 20 s. */
export function askAdmin(place: string, path: string, method = 'GET'): Promise<AdminAnswer> {
  const [host, port] = place.split(':');
  const to = place.startsWith('/') ? { socketPath: place } : { host, port };
  const answer = new Promise<AdminAnswer>((resolve, reject) => {
    const call = request({ ...to, path, method, agent: false }, (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, body: JSON.parse(body) }),
        reject,
      );
    });
    call.on('error', reject).end();
  });
  return inTime(`an answer to ${method} ${path}`, ANSWER_MS, answer);
}
