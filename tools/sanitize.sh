#!/usr/bin/env bash
# Built with Clang, warnings as errors: the unit tests under AddressSanitizer and
# UndefinedBehaviorSanitizer, the fuzz targets for a bounded time each, and the tests of what has
# threads under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="$(nproc)"
fuzz_seconds="${OSTINATO_FUZZ_SECONDS:-20}" # of each target; one seed, so that a failure can be had again
threaded=(test_base test_plan test_runtime test_api)

build() { # PRESET [FLAG...]
  cmake --preset "$1" -DOSTINATO_WERROR=ON >/dev/null
  cmake --build --preset "$1" --parallel "$jobs" "${@:2}"
}

build asan --target unit_tests fuzz_targets
ctest --preset asan --parallel "$jobs" --output-on-failure

for source in tests/fuzz/fuzz_*.cpp; do
  name="$(basename "$source" .cpp)"
  corpus=("build/asan/corpus/$name")
  mkdir -p "${corpus[0]}"
  if [[ -d tests/fuzz/seeds/$name ]]; then corpus+=("tests/fuzz/seeds/$name"); fi
  echo "$name"
  "build/asan/tests/fuzz/$name" -seed=1 -max_total_time="$fuzz_seconds" -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix=build/asan/ -print_final_stats=1 "${corpus[@]}" 2>&1 | tail -n 4
done

build tsan --target "${threaded[@]}"
for test in "${threaded[@]}"; do "build/tsan/tests/$test" --gtest_brief=1; done
