/** What Linux says of a process, its memory and its descriptors, and what it says itself is open. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { askAdmin } from '../daemon/program.ts';

export type Vitals = {
  /** Bytes that are resident now, and the most that ever were. */
  readonly resident: number;
  readonly mostResident: number;
  readonly descriptors: number;
};

export function vitalsOf(pid: number): Vitals {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kilobytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN);
  return {
    resident: kilobytes('VmRSS') * 1024,
    mostResident: kilobytes('VmHWM') * 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** What `/readyz` says is open on the KMS socket. */
export type Open = {
  readonly open: number;
  readonly sessions: number;
  readonly calls: number;
};

export async function openOf(socket: string): Promise<Open> {
  const { body } = await askAdmin(join(socket, '../admin.sock'), '/readyz');
  return body['connections'] as Open;
}
