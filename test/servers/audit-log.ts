/** What a real Vault was asked, out of its own audit device. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VaultAdmin } from './vault-admin.ts';

/** Paths of requests that were answered, in their order, e.g. `auth/token/renew-self`. */
export type AuditLog = { paths(): readonly string[]; count(path: string): number };

/** Switches the file audit device on. */
export async function auditLog(admin: VaultAdmin, dir: string): Promise<AuditLog> {
  const file = join(dir, 'audit.log');
  await admin.write('sys/audit/file', { type: 'file', options: { file_path: file } });
  const paths = (): readonly string[] =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { type: string; request: { path: string } })
      .filter(({ type }) => type === 'response')
      .map(({ request }) => request.path);
  return { paths, count: (path) => paths().filter((p) => p === path).length };
}
