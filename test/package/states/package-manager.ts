/** dpkg and rpm, as what installs, changes, interrupts and removes. */
import { join } from 'node:path';
import { writeInside } from '../installation.ts';
import type { Machine, Outcome } from '../nspawn.ts';
import type { Packages } from '../packages-built.ts';

export type Version = 'old' | 'newer';

export type PackageManager = {
  readonly name: 'deb' | 'rpm';
  install(version: Version): Promise<Outcome>;
  /** Installs, is killed while the scripts of the package run, and then completes what it began. */
  interrupted(version: Version): Promise<Outcome>;
  remove(): Promise<Outcome>;
  purge(): Promise<Outcome>;
};

/** Where a machine sees the packages of both versions. */
export const FOLDERS: Readonly<Record<Version, string>> = {
  old: '/srv/packages-old',
  newer: '/srv/packages-newer',
};

/** Kills the process that runs the script which called it, and the script: twice the parent. */
const KILLER = `#!/bin/sh
script=$PPID
manager=$(awk '/^PPid:/ { print $2 }' "/proc/$script/status")
kill -KILL "$manager" "$script"
`;

type Files = Readonly<Record<Version, Packages>>;

export function dpkg(machine: Machine, files: Files): PackageManager {
  const file = (version: Version): string => fileOf(files, version, 'deb');
  const killer = '/usr/sbin/policy-rc.d';
  return {
    name: 'deb',
    install: (version) => machine.run(['dpkg', '--install', file(version)]),
    async interrupted(version) {
      await writeInside(machine, killer, KILLER, 0o755);
      const killed = await machine.run(['sh', '-c', `dpkg --install ${file(version)} & wait $!`]);
      await machine.must(['rm', killer]);
      if (killed.code === 0) throw new Error(`dpkg was not killed: ${killed.out}${killed.err}`);
      return await machine.run(['dpkg', '--configure', '-a']);
    },
    remove: () => machine.run(['dpkg', '--remove', 'trousseau']),
    purge: () => machine.run(['dpkg', '--purge', 'trousseau']),
  };
}

export function rpm(machine: Machine, files: Files): PackageManager {
  const file = (version: Version): string => fileOf(files, version, 'rpm');
  const upgrade = ['rpm', '-U', '--nodeps', '--oldpackage', '--replacepkgs'];
  const killer = '/usr/sbin/systemd-sysusers';
  const erase = (): Promise<Outcome> => machine.run(['rpm', '-e', 'trousseau']);
  return {
    name: 'rpm',
    install: (version) => machine.run([...upgrade, file(version)]),
    async interrupted(version) {
      await writeInside(machine, killer, KILLER, 0o755);
      const command = [...upgrade, file(version)].join(' ');
      const killed = await machine.run(['sh', '-c', `${command} & wait $!`]);
      await machine.must(['rm', killer]);
      if (killed.code === 0) throw new Error(`rpm was not killed: ${killed.out}${killed.err}`);
      return await machine.run([...upgrade, '--replacefiles', file(version)]);
    },
    remove: erase,
    purge: erase,
  };
}

function fileOf(files: Files, version: Version, kind: 'deb' | 'rpm'): string {
  const path = files[version].file(kind);
  return join(FOLDERS[version], path.slice(path.lastIndexOf('/') + 1));
}
