#!/bin/sh
# make install: the program in /opt/trousseau, its units, user and folders, as a package has them. Below
# DESTDIR nothing of the running system is touched. Run again it is an upgrade: a configuration stays.
set -eu

root=${DESTDIR-}
opt=$root/opt/trousseau
units=$root/etc/systemd/system

# Beside what is there and then in its place: a program that runs cannot be written over.
install -d -m 0755 "$opt" "$root/usr/local/bin"
rm -rf "$opt/.new"
install -d -m 0755 "$opt/.new"
cp -a dist/trousseau dist/lib "$opt/.new/"
sed 's#/usr/lib/trousseau/restart#/opt/trousseau/restart#' systemd/restart > "$opt/.new/restart"
chmod 0755 "$opt/.new/restart"
rm -rf "$opt/.old"
install -d "$opt/.old"
for part in trousseau lib restart; do
    [ ! -e "$opt/$part" ] || mv "$opt/$part" "$opt/.old/"
    mv "$opt/.new/$part" "$opt/$part"
done
rm -rf "$opt/.old" "$opt/.new"
ln -sfn ../../../opt/trousseau/trousseau "$root/usr/local/bin/trousseau"

install -d "$units" "$root/etc/sysusers.d" "$root/etc/tmpfiles.d"
for unit in trousseau.service trousseau.socket; do
    sed 's#/usr/bin/trousseau#/opt/trousseau/trousseau#' "systemd/$unit" > "$units/$unit"
    chmod 0644 "$units/$unit"
done
install -m 0644 systemd/trousseau.sysusers "$root/etc/sysusers.d/trousseau.conf"
install -m 0644 systemd/trousseau.tmpfiles "$root/etc/tmpfiles.d/trousseau.conf"
# systemd 253 and newer hands the program a socket of its own for notifications.
version=$(systemctl --version 2>/dev/null | awk 'NR == 1 { print int($2) }')
if [ "${version:-0}" -ge 253 ]; then
    install -D -m 0644 systemd/10-notify-main.conf "$units/trousseau.service.d/10-notify-main.conf"
fi

install -d -m 0750 "$root/etc/trousseau"
[ -e "$root/etc/trousseau/config.yaml" ] ||
    install -m 0640 packaging/config.yaml "$root/etc/trousseau/config.yaml"

[ -z "$root" ] || exit 0
systemd-sysusers /etc/sysusers.d/trousseau.conf
chgrp trousseau /etc/trousseau /etc/trousseau/config.yaml
systemd-tmpfiles --create /etc/tmpfiles.d/trousseau.conf
[ ! -d /run/systemd/system ] || systemctl daemon-reload
echo 'Next: /etc/trousseau/config.yaml, then systemctl enable --now trousseau.socket trousseau.service.'
echo 'After an upgrade: /opt/trousseau/restart.'
