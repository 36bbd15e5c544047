#!/usr/bin/env bash
# Run tests on each supported Python that is installed, and report those that are not: `make test-pythons`.
# The Python of .venv is left out, because `make test` covers it. Pythons of pyenv are found, too.
# With NEWEST=1 only the newest of them. Arguments are passed to pytest. Each Python has an environment in .venv-3.NN, made from the hashed lock.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=
missing=
covered=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

find_python() { # a working interpreter of a version
    for python in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
        ! "$python" -c "import ensurepip" 2>/dev/null || { echo "$python"; return; }
    done
}

for version in 3.14 3.13 3.12 3.11; do
    [ "$version" != "$covered" ] || continue
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        missing="$missing $version"
        continue
    fi
    venv=.venv-$version
    if [ ! "$venv/ready" -nt requirements-dev.lock ]; then
        echo "== Python $version: installing requirements-dev.lock (about 700 MB)"
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
            -r requirements-dev.lock
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
        touch "$venv/ready"
    fi
    echo "== $("$venv/bin/python" --version)"
    "$venv/bin/python" -m pytest "$@" || failed="$failed $version"
    [ -z "${NEWEST:-}" ] || break
done
[ -z "$missing" ] || echo "not tested, because not installed: Python$missing"
[ -z "$failed" ] || { echo "failed on Python$failed" >&2; exit 1; }
