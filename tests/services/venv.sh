#!/usr/bin/env bash
# venv.sh: makes the Python environment of the oracles in the cache (once for each tests/oracle/requirements.txt) and prints its python.
set -euo pipefail
. "$(dirname "$0")/common.sh"

REQUIREMENTS=$SERVICES_DIR/../oracle/requirements.txt
PYTHON=${PYTHON:-python3}
command -v "$PYTHON" >/dev/null || needs "Python 3.10 or newer (apt-get install python3 python3-venv)"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || needs "Python 3.10 or newer (found $("$PYTHON" -V)); set PYTHON to one"

# The name holds the pins and the interpreter: a change of either makes a new environment and never half of an old one.
key=$( (cat "$REQUIREMENTS"; "$PYTHON" -c 'import sys; print(sys.version, sys.base_prefix)') | sha256sum | cut -c 1-12)
venv=$CACHE/venv-$key
if [ ! -f "$venv/complete" ]; then
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || needs "Python's venv module (apt-get install python3-venv)"
  mkdir -p "$CACHE"
  exec 9>"$CACHE/venv.lock"
  flock 9
  if [ ! -f "$venv/complete" ]; then
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$REQUIREMENTS" >&2
    touch "$venv/complete"
  fi
fi
echo "$venv/bin/python"
