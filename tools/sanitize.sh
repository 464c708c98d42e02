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

fuzz() { # NAME
  local corpus=("build/asan/corpus/$1")
  mkdir -p "${corpus[0]}"
  if [[ -d tests/fuzz/seeds/$1 ]]; then corpus+=("tests/fuzz/seeds/$1"); fi
  local last
  last="$("build/asan/tests/fuzz/$1" -seed=1 -max_total_time="$fuzz_seconds" -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix=build/asan/ -print_final_stats=1 "${corpus[@]}" 2>&1)" \
    || { echo "$1"; echo "$last"; return 1; }
  printf '%s\n%s\n' "$1" "$(tail -n 4 <<<"$last")"
}
export -f fuzz
export fuzz_seconds
basename -a -s .cpp tests/fuzz/fuzz_*.cpp \
  | xargs -P "$jobs" -I '{}' bash -euo pipefail -c 'fuzz {}'

build tsan --target "${threaded[@]}"
printf 'build/tsan/tests/%s\n' "${threaded[@]}" \
  | xargs -P "$jobs" -I '{}' env '{}' --gtest_brief=1
