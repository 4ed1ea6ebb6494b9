#!/usr/bin/env bash
# tools/rootfs.sh BINARY DEST: DEST becomes the root of an image that holds BINARY and what it needs, nothing
# else: the libraries it is linked to, those of name resolution (glibc loads them while it runs, so `ldd`
# does not know them; without them no host name resolves), a user without rights. No shell.
# The Dockerfile copies DEST; tools/image packs it.
set -euo pipefail

if [ $# -ne 2 ]; then
    sed -n 2,5p "$0" >&2
    exit 2
fi
binary=$1
dest=$2
[ -x "$binary" ] || { echo "$binary is no program; build it with: cargo build --locked --release" >&2; exit 1; }
if [ -e "$dest" ] && [ -n "$(ls -A "$dest")" ]; then
    echo "$dest is not empty: name a folder that does not exist" >&2
    exit 1
fi

umask 022
mkdir -p "$dest/usr/bin" "$dest/etc" "$dest/tmp"
install -m 0755 "$binary" "$dest/usr/bin/$(basename "$binary")"

copy_library() {
    # As the loader asks for it, with the file itself behind the name.
    install -D -m 0755 "$(readlink -f "$1")" "$dest$1"
}

ldd "$binary" | awk '/=> \// { print $3 } /^\t\/.*ld-linux/ { print $1 }' | while read -r library; do
    copy_library "$library"
done
libc=$(ldd "$binary" | awk '/libc\.so/ { print $3 }')
for name in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
    library=$(dirname "$libc")/$name
    [ -e "$library" ] && copy_library "$library"
done

printf 'hosts: files dns\n' >"$dest/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/none\ntandemmq:x:10001:10001:tandemmq:/:/none\n' >"$dest/etc/passwd"
printf 'root:x:0:\ntandemmq:x:10001:\n' >"$dest/etc/group"
chmod 1777 "$dest/tmp"
