#!/usr/bin/env bash
# Prove the image where no container engine can run one, as in CI: `make image-root`. buildah builds the Containerfile on
# a Debian made by debootstrap, and a chroot runs the result as the image's user, with a read-only root and no shell.
# Needs root, debootstrap and buildah. MIRROR is where Debian's packages are downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in debootstrap buildah; do
    command -v "$program" >/dev/null || { echo "skipped: needs $program (sudo apt install $program)"; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: needs root (sudo make image-root)"; exit 0; }

work=$(mktemp -d)
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF=$work/storage.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/store" "$work/run" >"$CONTAINERS_STORAGE_CONF"
cleanup() {
    buildah rm --all >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

base=docker.io/library/debian:trixie-slim
echo "== making the base image (about 250 MB)"
debootstrap --variant=minbase trixie "$work/base" ${MIRROR:+"$MIRROR"} >"$work/log" || { tail "$work/log" >&2; exit 1; }
# Behind a proxy with its own certificate authority, pip must trust it.
if [ -e /etc/pip.conf ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/builder.pem"
    sed 's|^cert *=.*|cert = /etc/builder.pem|' /etc/pip.conf >"$work/base/etc/pip.conf"
fi
container=$(buildah from scratch)
cp -a "$work/base/." "$(buildah mount "$container")/"
buildah commit --quiet --rm "$container" "$base" >/dev/null
rm -rf --one-file-system "$work/base"

echo "== building the Containerfile"
ENGINE=buildah TAG=clarion:test tools/image.sh --pull=never "$@" >"$work/log" 2>&1 ||
    { tail -30 "$work/log" >&2; exit 1; }

echo "== running it"
buildah inspect --type image clarion:test >"$work/image.json"
root=$(buildah mount "$(buildah from --pull=never clarion:test)")
# Its own namespaces, so that mounts and processes end with it.
unshare --mount --pid --fork --kill-child python3 tests/deploy/image_run.py "$root" "$work/image.json"
