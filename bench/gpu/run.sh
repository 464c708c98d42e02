#!/usr/bin/env bash
# All that a machine with an NVIDIA GPU is needed for, in one call of under ten minutes: the cases of
# all kernels, persistent launches beside the graph of kernels, compute-sanitizer, parity with the
# CPU, ceilings, and workloads beside PyTorch. Writes gpu.json, gpu.md, and persistent.svg with the
# tasks of one step on each multiprocessor; ends with 1 where a step failed.
#
#   bench/gpu/run.sh [BUILD [OUT]]
#
# BUILD is a build folder with test_cuda and ostinato in it (build/release if not given), OUT where
# results go (bench/results). Python 3 with a CUDA build of torch, and transformers, must be there;
# workloads through torch.compile need the package too, in BUILD for that Python or installed, and
# the families pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
build="${1:-build/release}"
out="${2:-bench/results}"
mkdir -p "$out"
tests="$build/tests/test_cuda"
python="${PYTHON:-python3}"

# cuBLASLt as PyTorch brings it, unless the loader finds one.
libraries="$("$python" -c '
import glob, os, sys
folders = [os.path.join(p, "nvidia") for p in sys.path]
found = [f for p in folders for f in glob.glob(p + "/**/libcublasLt.so.1[23]", recursive=True)]
print(os.path.dirname(found[0]) if found else "")')"
export LD_LIBRARY_PATH="${libraries:+$libraries:}${LD_LIBRARY_PATH:-}"
# The package, where it was built.
export PYTHONPATH="$(realpath "$build")/python${PYTHONPATH:+:$PYTHONPATH}"
export OSTINATO_TEST_GPU=1 # the kernels' cases run on the GPU instead of the tests' own driver

for needed in "$tests" "$build/src/ostinato/ostinato"; do
  [ -x "$needed" ] || { echo "$needed is missing: build it first" >&2 && exit 2; }
done

note() { printf '%s\t%s\t%d\n' "$1" "$2" "$SECONDS" >>"$out/gpu-steps.tsv"; }
rm -f "$out"/gpu-*.log "$out/workloads.json" # of an earlier call
: >"$out/gpu-steps.tsv"
step() { # NAME SECONDS COMMAND…: goes on whatever happens, and notes it; 124 is the limit's
  local name="$1" limit="$2"
  shift 2
  printf '\n== %s (%d s)\n' "$name" "$SECONDS"
  if timeout -k 5 "$limit" "$@" >"$out/gpu-$name.log" 2>&1; then
    note "$name" pass
  else
    note "$name" "failed with $?"
    tail -n 20 "$out/gpu-$name.log"
  fi
}

persistent='Families/Persistents.*:PersistentBlocks.*:Launches/TokensOnTheDevice.*'
few='Cpu/RowTest.Softmax/*float32:Cpu/AttentionTest.ReadsThePosition*:Cpu/ProductTest.Linear/*'
few="$few:Cpu/CudaKernels.*:Cpu/MovementTest.Indexing/*:Cpu/RowTest.RotaryPair/*"
few="$few:Families/Persistents.ComputeWhatTheGraphOfKernelsDoes/*:PersistentBlocks.AreAnyNumber"
few="$few:Families/Persistents.FollowEachOtherInOneLaunch/qwen3:Launches/TokensOnTheDevice.*"
step devices 20 "$build/src/ostinato/ostinato" devices
step kernels 80 "$tests" --gtest_filter='Cpu/*'
# Every position and 10^5 steps of each family; blocks that wait for each other for ever end here.
step persistent 85 "$tests" --gtest_filter="$persistent"
for tool in memcheck racecheck initcheck; do
  step "$tool" 45 compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests" --gtest_filter="$few"
done
# Each named family's graphs, held to the CPU's plain loops.
export OSTINATO_BINARY="$build/src/ostinato/ostinato"
step families 60 "$python" -m pytest -q tests/python/test_cuda_families.py
step workloads 170 "$python" bench/gpu/workloads.py "$build/src/ostinato/ostinato" "$out/workloads.json"
"$python" bench/gpu/report.py "$out"
! grep -q failed "$out/gpu-steps.tsv"
