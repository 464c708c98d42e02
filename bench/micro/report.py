"""How near each kernel comes to what the machine gives, as Markdown.

    cmake --preset release -DOSTINATO_BENCH=ON
    cmake --build --preset release --target bench_micro
    python bench/micro/report.py build/release/bench/bench_micro [--filter REGEX] [--json FILE]

The ceilings (multiply-adds, dot products of bfloat16 pairs, reads from memory, on all processors)
are measured in the same run, and all repetitions of everything in random order, so that a machine
that drifts hits all alike. A kernel's floor is the longer of its FLOPs and its bytes at the
ceilings; what lies in a cache may be faster than the memory.
"""

import argparse
import json
import subprocess
from pathlib import Path


def measure(program: str, pattern: str, repetitions: int) -> list[dict]:
    """What Google Benchmark reports, one object for each aggregate."""
    command = [
        program,
        f"--benchmark_filter=^ceiling/|{pattern}",
        "--benchmark_format=json",
        f"--benchmark_repetitions={repetitions}",
        "--benchmark_enable_random_interleaving=true",
        "--benchmark_report_aggregates_only=true",
        "--benchmark_min_time=0.05",
    ]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def main():
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="bench_micro")
    parser.add_argument("--filter", default=".", help="kernels whose name has this expression")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--json", type=Path, help="keep what was measured in this file")
    arguments = parser.parse_args()
    report = measure(arguments.program, arguments.filter, arguments.repetitions)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))
    figures = {}
    for entry in report["benchmarks"]:
        if entry.get("error_occurred"):
            continue
        name = entry["run_name"].removesuffix("/real_time")
        figures.setdefault(name, {})[entry["aggregate_name"]] = entry
    ceilings = {
        name.removeprefix("ceiling/"): entry["median"].get("FLOP/s") or entry["median"]["B/s"]
        for name, entry in figures.items()
        if name.startswith("ceiling/")
    }
    fp32 = ceilings["fp32"]
    bf16 = ceilings.get("bf16", fp32)
    print(
        f"Ceilings: {fp32 / 1e9:.0f} GFLOP/s float32, {bf16 / 1e9:.0f} bfloat16, "
        f"{ceilings['memory'] / 1e9:.0f} GB/s.\n"
    )
    print("| kernel | median, µs | MAD | GFLOP/s | GB/s | of the ceiling |")
    print("|---|---:|---:|---:|---:|---:|")
    scale = {"ns": 1e-3, "us": 1, "ms": 1e3}
    for name, entry in figures.items():
        if name.startswith("ceiling/"):
            continue
        median, spread = entry["median"], entry["mad"]
        microseconds = median["real_time"] * scale[median["time_unit"]]
        peak = bf16 if "/bfloat16/" in name else fp32
        share = max(median["FLOP/s"] / peak, median["B/s"] / ceilings["memory"])
        mad = 100 * spread["real_time"] / median["real_time"]
        print(
            f"| {name} | {microseconds:.1f} | {mad:.0f} % "
            f"| {median['FLOP/s'] / 1e9:.1f} | {median['B/s'] / 1e9:.1f} | {100 * share:.0f} % |"
        )


if __name__ == "__main__":
    main()
