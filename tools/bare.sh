#!/usr/bin/env bash
# Run the README's two commands on a bare Debian, from nothing, as an ordinary user: `make bare`.
# Needs root and debootstrap. ARGS="trixie" chooses the releases, MIRROR where their packages are downloaded, and
# TESTS="tests/unit" which tests run.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v debootstrap >/dev/null || { echo "skipped: needs debootstrap (sudo apt install debootstrap)"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "skipped: debootstrap needs root (sudo make bare)"; exit 0; }
[ $# -gt 0 ] || set -- bookworm trixie
packages=ca-certificates,git,make,python3,python3-venv

root=$(mktemp -d)
chmod 755 "$root"  # readable by the ordinary user
cleanup() {
    for folder in dev/shm dev/pts dev proc; do
        for _ in $(seq 30); do # busy until the last processes of the tests have ended
            mountpoint -q "$root/$folder" || break
            umount "$root/$folder" || sleep 1
        done
    done
    rm -rf --one-file-system "$root"
}
trap cleanup EXIT

inside() { # a command as the ordinary user, in the clone
    chroot "$root" su - clarion -c "cd clarion || exit; $1"
}

for release in "$@"; do
    echo "== $release: making a bare system (about 400 MB)"
    debootstrap --variant=minbase --include="$packages" "$release" "$root" ${MIRROR:+"$MIRROR"} >"$root.log" ||
        { tail "$root.log" >&2; exit 1; }
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    mount -t tmpfs tmpfs "$root/dev/shm"
    # As the installer of a real machine writes it.
    printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
    cp /etc/resolv.conf "$root/etc/"
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
    # Behind a proxy with its own certificate authority, pip in the bare system must trust it as well.
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    chroot "$root" useradd --create-home --home-dir /srv/clarion --shell /bin/bash clarion
    git clone --quiet . "$root/srv/clarion/clarion"
    chroot "$root" chown -R clarion: /srv/clarion
    echo "== $release: make run"
    inside "make run >run.log 2>&1 & run=\$!
        while kill -0 \$run 2>/dev/null && ! grep -q Ctrl-C run.log; do sleep 2; done
        grep -q Ctrl-C run.log; ready=\$?
        kill -TERM \$run 2>/dev/null; wait; tail -20 run.log; exit \$ready"
    echo "== $release: make test"
    inside "make test ARGS='${TESTS:-}'"
    cleanup
    mkdir -m 755 "$root"
done
