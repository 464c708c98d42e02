#!/usr/bin/env bash
# Every check, cheapest first; stops at the first that fails. Expects tools/setup.sh test.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${OSTINATO_VENV:-.venv}"
jobs="$(nproc)"
fuzz_seconds="${OSTINATO_FUZZ_SECONDS:-20}" # of each target; one seed, so that a failure can be had again

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
build() { # PRESET [TARGET...]
  cmake --preset "$1" -DOSTINATO_WERROR=ON >/dev/null
  cmake --build --preset "$1" --parallel "$jobs" ${2:+--target "${@:2}"}
}

step lint
tools/lint.sh

step release build with GCC, warnings as errors
build release
step unit tests
ctest --preset release --parallel "$jobs" --output-on-failure

step fuzz targets, with Clang
mapfile -t targets < <(cd tests/fuzz && ls fuzz_*.cpp | sed 's/\.cpp$//')
build fuzz "${targets[@]}"
for target in build/fuzz/tests/fuzz/fuzz_*; do
  [[ -x $target && ! -d $target ]] || continue
  name="$(basename "$target")"
  mkdir -p "build/fuzz/corpus/$name"
  echo "$name"
  seeds="tests/fuzz/seeds/$name"
  "$target" -seed=1 -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    "build/fuzz/corpus/$name" $([[ -d $seeds ]] && echo "$seeds") 2>&1 | tail -n 4
done

step parity with PyTorch, transformers, tokenizers and PIL
"$venv/bin/python" -m pytest -q
