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
declare -A tidying
tidy() { # PRESET FILES [FLAG...]
  nice -n 19 run-clang-tidy-14 -p "build/$1" -quiet -j "$jobs" "${@:3}" "$2" \
    >"build/$1/tidy.log" 2>&1 &
  tidying[$1]=$!
}
tidy asan 'src/ostinato/.*\.cpp$'
# The device for NVIDIA's GPUs, which only the release build may have, with GCC's warnings.
tidy release 'src/ostinato/device/cuda/[^/]*\.cpp$' -extra-arg=-Wno-unknown-warning-option
trap 'kill "${tidying[@]}" 2>/dev/null || true' EXIT

step parity with PyTorch, transformers, tokenizers and PIL
"$venv/bin/python" -m pytest -q

step the rest of clang-tidy
for preset in "${!tidying[@]}"; do
  wait "${tidying[$preset]}" || { cat "build/$preset/tidy.log"; exit 1; }
done
step done
