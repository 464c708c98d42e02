"""Do PyTorch's threads and the engine's get in each other's way?

    PYTHONPATH=build/release/python python bench/models/pools.py

A compiled model and an operator of PyTorch's, each alone and in turns, in one interleaved run. What
turns take beyond the sum of both is what the pools cost each other. Prints a Markdown table.
"""

import argparse
import statistics
import time

import torch

from ostinato.backend import ostinato as backend


def seconds_of(functions):
    """How long the calls take together."""
    start = time.perf_counter()
    for function in functions:
        function()
    return time.perf_counter() - start


def main():
    """Measures sizes from microseconds to milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print("| rows | compiled alone | PyTorch alone | in turns | cost |")
    print("|---|---|---|---|---|")
    layers = [torch.nn.Linear(256, 256) for _ in range(4)]
    model = torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.GELU())))
    with torch.inference_mode():
        for rows in (16, 64, 256, 1024, 4096):
            torch._dynamo.reset()
            x, weight = torch.randn(rows, 256), torch.randn(256, 1024)
            compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=False)

            def ours(compiled=compiled, x=x):
                return compiled(x)

            def theirs(x=x, weight=weight):
                return torch.relu(x @ weight)

            seconds_of([ours, theirs] * 10)
            count = max(4, round(0.05 / seconds_of([ours, theirs])))
            plans = {"ours": [ours] * count, "theirs": [theirs] * count}
            plans["turns"] = [ours, theirs] * count
            times = {name: [] for name in plans}
            for _ in range(rounds):
                for name, plan in plans.items():
                    times[name].append(seconds_of(plan) / count * 1e6)
            alone, other, turns = (statistics.median(times[name]) for name in plans)
            print(
                f"| {rows} | {alone:.0f} µs | {other:.0f} µs | {turns:.0f} µs "
                f"| {100 * (turns / (alone + other) - 1):+.0f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
