/** What a command reads where its FILE is `-`. */
import { fstatSync } from 'node:fs';
import { readStream } from '../config/load.ts';

const STDIN = 0;

/** The whole text, or why there is none. Of what cannot be read as a stream Node makes an empty one. */
export async function readStandardInput(): Promise<string | { readonly problem: string }> {
  const stats = fstatSync(STDIN);
  if (stats.isDirectory()) return { problem: 'it is a directory' };
  if (stats.isBlockDevice()) return { problem: 'it is a disk' };
  return await readStream(process.stdin);
}
