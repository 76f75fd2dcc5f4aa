/** The AppArmor profile for a program that `make install` has put below /opt. */

const PACKAGED = '  /usr/bin/trousseau mrix,\n';

/** `profile` is packaging/apparmor/trousseau: the executable of a package is one file. */
export function profileForFolder(profile: string, folder: string): string {
  const rules = [
    '# A shell script that starts the Node beside it, as make install lays them.',
    `${folder}/trousseau mrix,`,
    `${folder}/lib/node mrix,`,
    `${folder}/lib/* r,`,
    '/{,usr/}bin/{sh,dash,bash,readlink,coreutils} mrix,',
  ];
  if (!profile.includes(PACKAGED)) throw new Error(`the AppArmor profile lacks ${PACKAGED.trim()}`);
  return profile.replace(PACKAGED, rules.map((rule) => `  ${rule}\n`).join(''));
}
