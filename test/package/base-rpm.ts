/**
 * What an RPM distribution has installed, for a Debian that has only rpm: one package that provides what
 * rpm finds in the libraries which are there, and the commands that the scripts of a package name.
 */

/** Where the commands look for the text. */
export const SPEC_FILE = '/root/base.spec';

export const SPEC = `Name: base
Version: 1
Release: 1
Summary: What the libraries of this tree provide
License: none
BuildArch: noarch
AutoReqProv: no
Provides: systemd
Provides: /bin/sh
Provides: /usr/bin/getent
Provides: /usr/sbin/groupadd
Provides: /usr/sbin/useradd
%{lua: for line in io.lines("/root/provides") do print("Provides: " .. line .. "\\n") end}
%description
None.
%files
`;

const LIBRARIES = [
  'libc.so.6',
  'libdl.so.2',
  'libm.so.6',
  'libpthread.so.0',
  'libstdc++.so.6',
  'libgcc_s.so.1',
];

/** Build the package and install it, into the database where an RPM distribution has it. */
export const COMMANDS = `mkdir -p /etc/rpm
echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros
cd /lib/*-linux-gnu
/usr/lib/rpm/elfdeps --provides ${LIBRARIES.join(' ')} ld-linux-*.so.* | sort -u > /root/provides
rpmbuild -bb --quiet --define '_topdir /root/rpm' --define '_rpmdir /root' ${SPEC_FILE}
rpm -i --nodeps /root/noarch/base-1-1.noarch.rpm`;
