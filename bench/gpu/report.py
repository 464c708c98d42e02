"""Puts the results of bench/gpu/run.sh into gpu.json and gpu.md.

python bench/gpu/report.py FOLDER
"""

import json
import sys
from pathlib import Path


def figures(result: dict) -> str:
    """One engine's figures in a cell."""
    if "error" in result:
        return result["error"].splitlines()[0][:60]
    if "tokens_per_s" in result:
        return f"{result['tokens_per_s']:.0f} tokens/s"
    if "batches" in result:
        latency = result["batches"][0]["lanes"]["graph"]["latency_ms"]
        tail = f" (p90 {latency['p90']:.3f})" if "p90" in latency else ""
        return f"{latency['p50']:.3f} ms{tail}"
    if "p50_ms" in result:
        return f"{result['p50_ms']:.3f} ms (p95 {result['p95_ms']:.3f})"
    return "see gpu.json"


def main() -> None:
    """Reads what the steps left and writes the two files."""
    folder = Path(sys.argv[1])
    steps = [line.split("\t") for line in (folder / "gpu-steps.tsv").read_text().splitlines()]
    workloads = folder / "workloads.json"
    result = json.loads(workloads.read_text()) if workloads.exists() else {}
    result["steps"] = [{"name": n, "outcome": o, "at_s": int(s)} for n, o, s in steps]
    (folder / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")

    lines = [
        f"# On {result.get('gpu', 'a GPU that no workload ran on')}",
        "",
        "| step | |",
        "|---|---|",
    ]
    lines += [f"| {step['name']} | {step['outcome']} |" for step in result["steps"]]
    log = folder / "gpu-persistent.log"
    said = log.read_text().splitlines() if log.exists() else []
    paces = [line for line in said if " us a token " in line]
    if paces:
        lines += ["", "A step of a tiny decoder, where the way of its tokens is most of it:", ""]
        lines += [f"- {pace}" for pace in paces]
    if "ceilings" in result:
        copy, product = result["ceilings"].values()
        lines += [
            "",
            f"A large copy moves {copy / 1e12:.2f} TB/s, counting bytes read and written;",
        ]
        lines += [f"a large bfloat16 product reaches {product / 1e12:.0f} TFLOP/s."]
    if "parity" in result:
        lines += ["", "| model, small | dtype | against the CPU in float32 |", "|---|---|---|"]
        for row in result["parity"]:
            rest = {k: v for k, v in row.items() if k not in ("model", "dtype")}
            held = "; ".join(f"{k}: {v}" for k, v in rest.items())
            lines += [f"| {row['model']} | {row['dtype']} | {held} |"]
    for workload in result.get("workloads", []):
        lines += ["", f"## {workload['workload']}", "", "| engine | |", "|---|---|"]
        lines += [f"| Ostinato | {figures(workload['ostinato'])} |"]
        for name, variant in workload.get("variants", {}).items():
            lines += [f"| Ostinato, {name} | {figures(variant)} |"]
        lines += [f"| PyTorch {mode} | {figures(r)} |" for mode, r in workload["torch"].items()]
        if "operators" in workload and "p50_ms" in workload["ostinato"]:
            each = workload["ostinato"]["p50_ms"] / workload["operators"] * 1e6
            lines += ["", f"That is {each:.0f} ns an operator on Ostinato."]
        rate = workload["ostinato"].get("tokens_per_s")
        if "bytes_a_token" in workload and rate is not None and "ceilings" in result:
            share = rate * workload["bytes_a_token"] / result["ceilings"]["copy_bytes_per_s"]
            lines += ["", f"Weights are read at {share:.0%} of the large copy's speed."]
    (folder / "gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
