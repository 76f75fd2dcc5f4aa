/** What the chapters about a booted machine share: the machine, and two releases to install. */
import type { Identity, Machine } from '../nspawn.ts';
import type { Release } from '../packages-built.ts';
import type { Suite } from '../trees.ts';

/** `old` is the release before `newer`; `machine` may be asked for once the tests run. */
export type UnderTest = {
  readonly suite: Suite;
  readonly machine: Machine;
  readonly old: Release;
  readonly newer: Release;
};

export const OLD_VERSION = '3.1.0-rc.1';
export const NEWER_VERSION = '3.1.0';

/** Where the machine finds them, read-only, as on a stick. */
export const STICK = { old: '/srv/stick-old', newer: '/srv/stick-newer' } as const;

/** Debian's spelling, and RPM's. */
export function packageVersion(version: string): string {
  return `${version.replace('-', '~')}-1`;
}

/** Whether 10-notify-main.conf belongs there: systemd 253 brought OpenFile=. */
export function hasOpenFile(suite: Suite): boolean {
  return suite !== 'bookworm';
}

/** `trousseau bench` of one caller for a second, which encrypts and decrypts. */
export const BENCH = ['trousseau', 'bench', '--seconds', '1', '--concurrency', '1'] as const;

/** Whether somebody may read a file. */
export async function mayRead(machine: Machine, path: string, who: Identity): Promise<boolean> {
  return (await machine.run(['cat', path], who)).code === 0;
}
