#!/usr/bin/env bash
# Every check, cheapest first; stops at the first that fails. Expects tools/setup.sh test.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${OSTINATO_VENV:-.venv}"
jobs="$(nproc)"

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

step lint
tools/lint.sh

step release build with GCC, warnings as errors
python="$(cd "$venv/bin" && pwd)/python"  # not where it links to: packages are found from here
cmake --preset release -DOSTINATO_WERROR=ON -DOSTINATO_PYTHON=ON -DPython_EXECUTABLE="$python" \
  -DOSTINATO_CUDA_ARCHITECTURES=80 >/dev/null  # one is enough to see that kernels compile
cmake --build --preset release --parallel "$jobs"
step unit tests
ctest --preset release --parallel "$jobs" --output-on-failure

step sanitizers and fuzz targets
tools/sanitize.sh

step clang-tidy, on what processors the next step leaves idle
# Of the release build, which compiles all there is, and whose files read only what they include.
tidy_log=build/release/tidy.log
nice -n 19 "$venv/bin/run-clang-tidy.py" -clang-tidy-binary "$venv/bin/clang-tidy" \
  -p build/release -quiet -j "$jobs" 'src/ostinato/.*\.cpp$' >"$tidy_log" 2>&1 &
tidying=$!
trap 'kill "$tidying" 2>/dev/null || true' EXIT

step parity with PyTorch, transformers, tokenizers and PIL
"$venv/bin/python" -m pytest -q

step the rest of clang-tidy
wait "$tidying" || { cat "$tidy_log"; exit 1; }
step done
