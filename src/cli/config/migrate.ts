/** `trousseau config migrate`: the configuration of an earlier apiVersion, or of an earlier plugin, in today's form. */
import { realpath, stat } from 'node:fs/promises';
import { readText } from '../../config/load.ts';
import { migrateConfig } from '../../config/migrate.ts';
import { writeFileAtomically } from '../../system/files.ts';
import { EXIT, type ExitCode, type Invocation } from '../command.ts';

const PERMISSIONS = 0o7777;

/** Prints it, or replaces the file; nothing is written where nothing would change. */
export async function migrateFile(
  file: string,
  { options, out, err }: Invocation,
): Promise<ExitCode> {
  const text = await readText(file);
  if (typeof text !== 'string') {
    err(`${file}: ${text.problem}\n`);
    return EXIT.usage;
  }
  const migrated = migrateConfig(text);
  if (!migrated.ok) {
    const line = migrated.line === undefined ? '' : `${migrated.line}:`;
    err(`${file}:${line} ${migrated.problem}\n`);
    return EXIT.usage;
  }
  const { from, to, byHand } = migrated;
  if (byHand !== undefined && options['write'] === true) {
    err(
      `${file}: it is of ${from}, which may still need it: print the new one, and redirect it to another file\n`,
    );
    return EXIT.usage;
  }
  for (const line of byHand ?? []) err(`to do: ${line}\n`);
  if (options['write'] !== true) {
    out(migrated.text);
    return EXIT.ok;
  }
  if (from === to) {
    err(`${file}: it is of ${to} already: nothing was changed\n`);
    return EXIT.ok;
  }
  const problem = await replaceFile(file, migrated.text);
  if (problem !== undefined) {
    err(`${file}: ${problem}\n`);
    return EXIT.failure;
  }
  err(`${file}: from ${from} to ${to}\n`);
  return EXIT.ok;
}

/** Replaces what a link leads to, not the link. Answers why it could not be done. */
export async function replaceFile(file: string, text: string): Promise<string | undefined> {
  try {
    const path = await realpath(file);
    const { uid, gid, mode } = await stat(path);
    const ours = uid === process.geteuid?.() && gid === process.getegid?.();
    // Only root can give a file away, and the daemon must be able to read it afterwards.
    if (process.geteuid?.() !== 0 && !ours) {
      return 'it would get another owner or group, since it is not yours: run this as root';
    }
    await writeFileAtomically(path, text, mode & PERMISSIONS);
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return `it cannot be replaced: ${code ?? message}`;
  }
}
