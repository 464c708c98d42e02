"""bench/gpu, but for what a GPU does: its steps with stand-ins for the programs that need one."""

import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys

import pytest
from conftest import ROOT

FOLDER = ROOT / "bench/gpu"
MINUTES_OF_A_CALL = 10

WORKLOADS = {
    "gpu": "a GPU",
    "torch": "2.13.0",
    "ceilings": {"copy_bytes_per_s": 4.3e12, "bf16_flop_per_s": 7.9e14},
    "parity": [{"model": "qwen3-0.6b", "dtype": "bfloat16", "graph": "pass"}],
    "workloads": [
        {
            "workload": "decode",
            "ostinato": {"tokens_per_s": 1807.0},
            "variants": {"persistent": {"tokens_per_s": 2500.0}},
            "torch": {"eager": {"tokens_per_s": 40.0}, "default": {"error": "left out\nmore"}},
            "bytes_a_token": 1190000000,
        },
        {
            "workload": "vision",
            "ostinato": {
                "batches": [{"lanes": {"graph": {"latency_ms": {"p50": 1.25, "p90": 1.5}}}}]
            },
            "torch": {"eager": {"p50_ms": 4.0, "p95_ms": 4.5}},
        },
        {
            "workload": "chain",
            "operators": 800,
            "ostinato": {"p50_ms": 0.4, "p95_ms": 0.5},
            "torch": {"eager": {"p50_ms": 8.0, "p95_ms": 8.5}},
        },
    ],
}


def resources():
    """The module of that name."""
    spec = importlib.util.spec_from_file_location("resources", FOLDER / "resources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(path, text):
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/usr/bin/env bash\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(scope="module")
def one_call(tmp_path_factory):
    """Runs run.sh where racecheck finds something: how it ends, what it asked for, its folder."""
    tmp_path = tmp_path_factory.mktemp("gpu")
    log = tmp_path / "asked.log"
    note = f'echo "$(basename "$0") $*" >>"{log}"\n'
    build, bin_folder = tmp_path / "build", tmp_path / "bin"
    script(build / "tests/test_cuda", note + '[ "$OSTINATO_TEST_GPU" = 1 ] && echo "3 us a token "')
    script(build / "src/ostinato/ostinato", note)
    script(bin_folder / "compute-sanitizer", note + '[ "$2" != racecheck ]')
    script(bin_folder / "timeout", note + 'shift 3; exec "$@"')
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps(WORKLOADS))
    python = script(
        bin_folder / "python",
        f'case "$1" in *workloads.py) cp "{sample}" "$3"; exit ;; -m) exit ;; esac\n'
        f'exec "{sys.executable}" "$@"\n',
    )
    out = tmp_path / "out"
    environment = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHON": str(python),
    }
    done = subprocess.run(
        [FOLDER / "run.sh", build, out], capture_output=True, text=True, env=environment
    )
    return done, [line.split(" ") for line in log.read_text().splitlines()], out


def test_run_goes_through_every_step_and_reports(one_call):
    """Within its ten minutes, whatever a step says."""
    done, asked, out = one_call
    assert done.returncode == 1, done.stderr
    steps = {s["name"]: s["outcome"] for s in json.loads((out / "gpu.json").read_text())["steps"]}
    assert steps.pop("racecheck") == "failed with 1"
    assert set(steps.values()) == {"pass"}
    sanitized = ["memcheck", "initcheck"]
    assert list(steps) == ["devices", "kernels", "persistent", *sanitized, "families", "workloads"]
    limits = [int(line[2]) + int(line[3]) for line in asked if line[0] == "timeout"]
    assert len(limits) == len(steps) + 1
    assert sum(limits) < 60 * MINUTES_OF_A_CALL
    report = (out / "gpu.md").read_text()
    for part in (
        "# On a GPU",
        "| racecheck | failed with 1 |",
        "- 3 us a token",
        "4.30 TB/s",
        "| qwen3-0.6b | bfloat16 | graph: pass |",
        "| Ostinato | 1807 tokens/s |",
        "| Ostinato, persistent | 2500 tokens/s |",
        "| PyTorch default | left out |",
        "read at 50% of",
        "| Ostinato | 1.250 ms (p90 1.500) |",
        "| PyTorch eager | 4.000 ms (p95 4.500) |",
        "500 ns an operator",
    ):
        assert part in report


def test_run_asks_for_tests_that_there_are(one_call, tools):
    """Each pattern of its filters names some."""
    tests = tools / "test_cuda"
    if not tests.exists():
        pytest.skip("built without the device for NVIDIA's GPUs")
    _, asked, _ = one_call
    filters = {part for line in asked for part in line if part.startswith("--gtest_filter=")}
    assert len(filters) == 3
    for pattern in {p for f in filters for p in f.split("=", 1)[1].split(":")}:
        found = subprocess.run(
            [tests, "--gtest_list_tests", f"--gtest_filter={pattern}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert found.stdout.count("\n") > 2, pattern


def test_spills_are_found():
    """In what ptxas says of a kernel that has some."""
    said = (
        "ptxas info    : Compiling entry function 'persistent_float16' for 'sm_90a'\n"
        "ptxas info    : Function properties for persistent_float16\n"
        "    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 128 registers, used 2 barriers, 64 bytes smem\n"
    )
    kernels = resources().parse(said * 2)
    assert len(kernels) == 2
    assert list(kernels[0].values()) == ["persistent_float16", 128, 64, 16, 8, 12]
    assert resources().spilling(kernels) == ["persistent_float16"] * 2


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
def test_persistent_launches_do_not_spill():
    """Compiled for compute capability 9.0."""
    done = subprocess.run(
        [sys.executable, FOLDER / "resources.py", "persistent"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| persistent_bfloat16 |" in done.stdout
