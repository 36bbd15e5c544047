#!/usr/bin/env bash
# Run tests on each supported Python that is installed, and report those that are not: `make test-pythons`.
# Arguments are passed to pytest. Each Python has an environment in .venv-3.NN, made from the hashed lock.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=
missing=
for version in 3.11 3.12 3.13 3.14; do
    python=python$version
    if ! "$python" -c "import ensurepip" 2>/dev/null; then
        missing="$missing $version"
        continue
    fi
    venv=.venv-$version
    if [ ! "$venv/ready" -nt requirements-dev.lock ]; then
        echo "== Python $version: installing requirements-dev.lock (about 700 MB)"
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            --only-binary :all: -r requirements-dev.lock
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
        touch "$venv/ready"
    fi
    echo "== $("$venv/bin/python" --version)"
    "$venv/bin/python" -m pytest "$@" || failed="$failed $version"
done
[ -z "$missing" ] || echo "not tested, because not installed: Python$missing"
[ -z "$failed" ] || { echo "failed on Python$failed" >&2; exit 1; }
