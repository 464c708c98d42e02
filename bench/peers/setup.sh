#!/usr/bin/env bash
# Makes the environment of bench/peers/compare.py; does nothing when it is up to date.
#
#   bench/peers/setup.sh [FOLDER]    # .venv-peers if not given
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
venv="${1:-.venv-peers}"
if cmp -s "$here/requirements.txt" "$venv/.ostinato-peers"; then exit 0; fi
[[ -x "$venv/bin/python" ]] || python3 -m venv "$venv"
pip=("$venv/bin/pip" install --quiet --disable-pip-version-check)
echo "setup: installing the peers into $venv"
"${pip[@]}" torch==2.13.0  # by version, so that nothing brings in a CUDA build
"${pip[@]}" --requirement "$here/requirements.txt"
cp "$here/requirements.txt" "$venv/.ostinato-peers"
