"""Ostinato beside other engines, and beside what the machine can do, in one interleaved run.

    bench/peers/setup.sh
    cmake --preset release -DOSTINATO_BENCH=ON && cmake --build --preset release
    .venv-peers/bin/python bench/peers/compare.py {vit,qwen,chain} [--json FILE]

The same weights (from one seed, rounded to the dtype), inputs, dtype and threads for all; each
engine in a process of its own; rounds in which the engines and the machine's ceilings take turns,
so that a machine that drifts hits all alike. Every engine's output is compared with PyTorch in
float32, and one that strays has no figure. Prints a Markdown table; exits with 1 if Ostinato
strayed.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

import engines
from workloads import DECODED, GROWN, Case, prepare

ROOT = Path(__file__).parents[2]
PEERS = {
    "vit": ["torch-eager", "torch-inductor", "torch-inductor-frozen", "onnxruntime", "openvino"],
    "qwen": ["torch-eager", "torch-inductor", "torch-inductor-frozen", "llama.cpp"],
    "chain": ["torch-eager", "torch-inductor", "onnxruntime", "openvino"],
}
PACKAGES = ["torch", "transformers", "onnxruntime", "openvino", "llama-cpp-python"]
STRAYS = {"float32": 0.99999, "bfloat16": 0.98}  # cosines below are no agreement


def process_pool() -> ProcessPoolExecutor:
    """A process of its own; what libraries print in it is no part of the report."""
    return ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=os.dup2, initargs=(2, 1)
    )


class Lane:
    """An engine in a process of its own. Once it is out it keeps the reason."""

    def __init__(self, name: str, case: Case):
        self.name, self.case, self.samples, self.checked = name, case, [], {}
        self.out = engines.unsupported(name, case)
        self.process = None if self.out else process_pool()

    def ask(self, function, *arguments):
        """What the function gives in the engine's process; None once the engine is out."""
        if self.out:
            return None
        try:
            return self.process.submit(function, *arguments).result()
        except Exception as error:
            self.out = f"failed: {type(error).__name__}: {error}"
            return None

    def warm(self):
        """Starts the engine, and puts it out if its output is wrong."""
        tell(f"{self.case.name}: {self.name} starts")
        self.checked = self.ask(engines.warm, self.name, self.case) or {}
        if self.out:
            return
        if self.checked["tokens_only"]:
            strays = self.checked["top1"] < 0.25  # paths part at near-equal logits
        else:
            strays = self.checked["cosine"] < STRAYS[self.case.dtype]
        if strays:
            self.out = f"strays from PyTorch in float32: {self.checked}"

    def close(self):
        """Ends the process."""
        if self.process:
            self.process.shutdown()

    def report(self) -> dict:
        """As data."""
        if self.out:
            return {"out": self.out} | self.checked
        return self.checked | {"p50_ms": statistics.median(self.samples), "samples": self.samples}


def tell(text: str):
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def ceilings(program: Path) -> dict[str, float]:
    """GFLOP/s and GB/s of this moment."""
    command = [program, "--benchmark_filter=^ceiling/", "--benchmark_format=json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = {}
    for entry in json.loads(output.stdout)["benchmarks"]:
        if not entry.get("error_occurred"):
            name = entry["name"].split("/")[1]
            found[name] = entry.get("FLOP/s", entry.get("B/s")) / 1e9
    return found


def cases(arguments, store: Path) -> list[Case]:
    """What there is to measure."""
    workload, dtype, threads = arguments.workload, arguments.dtype, arguments.threads
    if workload == "vit":
        return [Case(workload, f"batch{n}", dtype, threads, 4, store) for n in arguments.batch]
    if workload == "chain":
        return [Case(workload, "chain", dtype, 1, 200, store)]
    steps = {"prefill": 3, "decode": DECODED, "growing": GROWN - 1}
    return [Case(workload, name, dtype, threads, n, store) for name, n in steps.items()]


def run(case: Case, names: list[str], rounds: int, micro: Path) -> dict:
    """One case with all engines."""
    lanes, limits = [Lane(name, case) for name in ["ostinato", *names]], []
    with tempfile.TemporaryDirectory() as scratch:
        for lane in lanes:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{scratch}/{lane.name}"  # a cold compile
            lane.warm()
        for i in range(rounds):
            tell(f"{case.name}: round {i + 1} of {rounds}")
            limits.append(ceilings(micro))
            turn = i % len(lanes)
            for lane in lanes[turn:] + lanes[:turn]:
                lane.samples += lane.ask(engines.measure) or []
        for lane in lanes:
            lane.close()
    middle = {name: statistics.median(limit[name] for limit in limits) for name in limits[0]}
    peak = middle.get("bf16", middle["fp32"]) if case.dtype == "bfloat16" else middle["fp32"]
    peak *= case.threads / len(os.sched_getaffinity(0))
    floor = max(case.flops() / peak, case.bytes() / middle["memory"]) / 1e6
    report = {"ceilings": middle, "floor_ms": floor, "dtype": case.dtype, "threads": case.threads}
    return report | {"lanes": {lane.name: lane.report() for lane in lanes}}


def table(reports: dict[str, dict], names: list[str]) -> str:
    """Markdown: times, and Ostinato against the best of the others and the floor."""
    head = ["case", "floor", "ostinato", *names, "against the best peer", "floor / ostinato"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, report in reports.items():
        lanes = report["lanes"]
        times = {lane: figures.get("p50_ms") for lane, figures in lanes.items()}
        shown = [f"{times[lane]:.4g}" if times[lane] else "–" for lane in ["ostinato", *names]]
        others = [times[lane] for lane in names if times[lane]]
        ours, floor = times["ostinato"], report["floor_ms"]
        ratio = f"{ours / min(others):.2f}" if ours and others else "–"
        share = f"{100 * floor / ours:.0f} %" if ours else "–"
        rows.append([f"{name}, {report['dtype']}", f"{floor:.3g}", *shown, ratio, share])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def installed() -> dict[str, str]:
    """The versions of what there is: a peer that nobody asked for may be missing."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def machine() -> dict:
    """What the figures depend on."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": found[1] if found else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d"),
        "versions": installed(),
    }


def main():
    """Prepares, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workload", choices=PEERS)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="bfloat16 for qwen")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8], help="of vit")
    parser.add_argument("--peers", nargs="+", help="some of them")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--json", type=Path, help="write all samples there")
    arguments = parser.parse_args()
    arguments.dtype = arguments.dtype or ("bfloat16" if arguments.workload == "qwen" else "float32")
    names = arguments.peers or PEERS[arguments.workload]
    if unknown := set(names) - set(engines.ENGINES):
        parser.error(f"there is no peer {', '.join(unknown)}: give {', '.join(engines.ENGINES)}")
    os.environ["OSTINATO"] = str(arguments.build / "src/ostinato/ostinato")
    os.environ |= {"OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    batches = "-".join(map(str, arguments.batch))
    key = f"{arguments.workload}-{arguments.dtype}-{batches}"
    store = Path(tempfile.gettempdir()) / f"ostinato-peers-{os.getuid()}" / key
    if not (store / "ready").exists():
        tell(f"preparing {store}")
        with process_pool() as process:
            process.submit(
                prepare, arguments.workload, store, arguments.dtype, arguments.batch
            ).result()
    where = machine()
    reports = {
        case.name: run(case, names, arguments.rounds, arguments.build / "bench/bench_micro")
        for case in cases(arguments, store)
    }
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": where, "cases": reports}, indent=1))
    print(table(reports, names))
    print(f"\nMilliseconds a step, medians; {where['processors']} processors of {where['cpu']}, ")
    print(f"{where['date']}; " + ", ".join(f"{k} {v}" for k, v in where["versions"].items()) + ".")
    for name, report in reports.items():
        for lane, figures in report["lanes"].items():
            if "out" in figures:
                print(f"- {name}, {lane}: {figures['out']}")
    strayed = any("out" in report["lanes"]["ostinato"] for report in reports.values())
    return 1 if strayed else 0


if __name__ == "__main__":
    sys.exit(main())
