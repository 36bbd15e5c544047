#!/usr/bin/env bash
# Build the image from the last commit: `make image`. TAG names it, ENGINE chooses podman, buildah or docker, and ARGS
# are passed on to the build, such as ARGS="--platform linux/amd64,linux/arm64".
set -euo pipefail
cd "$(dirname "$0")/.."

works() { # whether an engine is installed and can work here: docker is often a client without its service
    command -v "$1" >/dev/null || return 1
    [ "$1" = buildah ] && { buildah images >/dev/null 2>&1; return; }
    "$1" info >/dev/null 2>&1
}

if [ -z "${ENGINE:-}" ]; then
    for ENGINE in podman buildah docker none; do works "$ENGINE" && break; done
fi
[ "$ENGINE" != none ] ||
    { echo "make image needs podman, buildah or docker, and none of them works here" >&2; exit 2; }
case $ENGINE in
podman | buildah) format=(--format docker) ;; # that of OCI has no HEALTHCHECK
*) format=() ;;
esac
[ -z "$(git status --porcelain)" ] || echo "the image will not contain changes that are not committed" >&2

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# The commit, and not the folder: no environments, keys or generated files of this machine.
git archive HEAD | tar -x -C "$context"
"$ENGINE" build "${format[@]}" -f deploy/Containerfile -t "${TAG:-clarion:$version}" "$@" "$context"
echo "built ${TAG:-clarion:$version} with $ENGINE"
