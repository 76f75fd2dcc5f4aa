/** Changing the configuration of a running plugin, and seeing what it made of it. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { askAdmin, trousseau, writeConfig } from './program.ts';

/** What the log says of a reload. */
export const RELOADED = 'configuration reloaded';
export const REFUSED = 'reload refused: the configuration in use stays';

export const NOTICE_MS = 15_000;
const DEBUG = { log: { level: 'debug', format: 'json' } };

/** Keyrings `a`, sealed, and `b`, each as a provider. */
export async function twoKeyrings(dir: string) {
  const sealKeyFile = join(dir, 'seal.key');
  writeFileSync(sealKeyFile, Buffer.alloc(32, 7), { mode: 0o600 });
  const of = async (name: string, ...flags: readonly string[]): Promise<string> => {
    const file = join(dir, `${name}.json`);
    const { code, err } = await trousseau('keyring', 'init', file, ...flags);
    assert.equal(code, 0, err);
    return file;
  };
  const a = { keyringFile: await of('a', '--seal-key-file', sealKeyFile), sealKeyFile };
  return [
    { name: 'a', local: a },
    { name: 'b', local: { keyringFile: await of('b') } },
  ] as const;
}

/** Replaces the configuration as editors and deployment tools do. */
export function replaceConfig(dir: string, config: object): void {
  const file = join(dir, 'config.yaml');
  const next = join(dir, 'next');
  mkdirSync(next, { recursive: true });
  writeConfig(next, { ...socketsIn(dir), ...config });
  renameSync(join(next, 'config.yaml'), file);
}

export function socketsIn(dir: string): object {
  return {
    listen: { socket: join(dir, 'kms.sock') },
    admin: { socket: join(dir, 'admin.sock') },
    ...DEBUG,
  };
}

export function linesOf(plugin: Plugin, wanted: string): ReturnType<Plugin['log']> {
  return plugin.log().filter(({ msg }) => msg === wanted);
}

export async function logged(plugin: Plugin, wanted: string, times: number): Promise<void> {
  await waitUntil(`${wanted}, ${times} times`, NOTICE_MS, () => {
    return linesOf(plugin, wanted).length >= times;
  });
}

export async function reloadOf(dir: string): Promise<Readonly<Record<string, unknown>>> {
  const { status, body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
  assert.deepEqual([status, body['status']], [200, 'ok']);
  return body['reload'] as Readonly<Record<string, unknown>>;
}
