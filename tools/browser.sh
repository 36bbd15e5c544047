#!/usr/bin/env bash
# Install what tests/browser needs, as far as this machine allows: Debian's Chromium (as root, with apt), and
# axe-core (with npm) in .browser/. Without them, the tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v chromium > /dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing chromium"
    apt-get update -qq > /dev/null && apt-get install -y -qq chromium > /dev/null || echo "chromium cannot be installed"
  else
    echo "chromium is not installed: the browser tests will be skipped (Debian: sudo apt install chromium)"
  fi
fi

pins=tests/browser/package.json
if ! cmp -s "$pins" .browser/package.json || [ ! -f .browser/node_modules/axe-core/axe.min.js ]; then
  if command -v npm > /dev/null; then
    mkdir -p .browser
    npm install --prefix .browser --ignore-scripts --no-audit --no-fund --no-package-lock --silent \
      "$(sed -n 's/.*"axe-core": "\(.*\)".*/axe-core@\1/p' "$pins")" && cp "$pins" .browser/package.json ||
      echo "axe-core cannot be installed"
  else
    echo "npm is not installed: accessibility will not be checked"
  fi
fi
