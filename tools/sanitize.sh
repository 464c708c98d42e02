#!/usr/bin/env bash
# The unit tests under AddressSanitizer with UndefinedBehaviorSanitizer, and those with threads
# under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."

for preset in asan tsan; do
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" --parallel "$(nproc)"
done
ctest --preset asan --parallel "$(nproc)"
for test in base plan runtime; do "build/tsan/tests/test_$test" --gtest_brief=1; done
