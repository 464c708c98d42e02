#!/usr/bin/env bash
# Formatting, layers and static checks; changes nothing. What pre-commit and CI run.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${OSTINATO_VENV:-.venv}"

git ls-files '*.h' '*.cpp' | xargs clang-format-14 --dry-run --Werror
"$venv/bin/ruff" check --quiet .
"$venv/bin/ruff" format --check --quiet .
python3 tools/check_layers.py
