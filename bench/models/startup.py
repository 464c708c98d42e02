"""What torch.compile's backend costs before and beside the engine's own work, as Markdown.

    python bench/models/startup.py [--only call first start] [--model FOLDER] [--rounds 3]

- call: one call of a compiled function of one operator on sixteen numbers, so that nothing but the
  way there and back counts. Inference mode; the best of many rounds.
- first: the first call of torch.compile on a causal language model: what PyTorch does for any
  backend, and the backend's own part from the ATen graph to the callable and in the callable's
  first call (with Ostinato passes, plan, packing, capture, and the first replay).
- start: a process that finds what an earlier one left on disk, from its start to the first token.

Each line is measured in processes of their own. Without --model, Qwen3-0.6B in full size with
random weights is made in a temporary folder, in bfloat16.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

CALL_LANES = ("eager", "Dynamo alone", "ostinato", "ostinato, no Dynamo", "inductor")
FIRST_LANES = ("ostinato", "inductor")
START_LANES = ("eager", "ostinato.compile", "cache_compile", "ostinato", "inductor")
PROMPT_TOKENS = 24


def best_call(function, argument, rounds: int = 300, calls: int = 50) -> float:
    """Microseconds a call; rounds so short that a busy machine lets some through whole."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(calls):
            function(argument)
        best = min(best, (time.perf_counter() - begun) / calls)
    return best * 1e6


def measure_call(lane: str) -> dict[str, float]:
    """One operator by that lane."""
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    x = torch.randn(4, 4)
    function = torch.relu
    with torch.inference_mode():
        if lane == "ostinato, no Dynamo":
            from ostinato import compile_fx

            function = compile_fx(make_fx(lambda x: (torch.relu(x),))(x), [x])
        elif lane != "eager":
            function = torch.compile(
                lambda x: torch.relu(x), backend=backend_of(lane), fullgraph=True
            )
        return {"call": best_call(function, x)}


def backend_of(lane: str):
    """What torch.compile takes; the name alone would need an installed package."""
    if lane != "ostinato":
        return "eager" if lane == "Dynamo alone" else lane
    from ostinato.backend import ostinato

    return ostinato


class TimedBackend:
    """A backend of torch.compile that notes the seconds of its parts, and of its first call."""

    def __init__(self, lane: str):
        self._lane = lane
        self.graph = self.own = self.first_call = 0.0

    def _own(self, function):
        """The part behind AOTAutograd, timed."""

        def timed(*arguments, **keywords):
            begun = time.perf_counter()
            result = function(*arguments, **keywords)
            self.own += time.perf_counter() - begun
            return result

        return timed

    def _compile(self, gm, example_inputs):
        if self._lane == "inductor":
            from torch._inductor.compile_fx import compile_fx, compile_fx_inner

            return compile_fx(gm, example_inputs, inner_compile=self._own(compile_fx_inner))
        from ostinato.backend import ostinato
        from ostinato.importer import Importer

        with mock.patch.object(Importer, "run", self._own(Importer.run)):
            return ostinato(gm, example_inputs)

    def __call__(self, gm, example_inputs):
        """As torch.compile calls it."""
        begun = time.perf_counter()
        compiled = self._compile(gm, example_inputs)
        self.graph += time.perf_counter() - begun

        def call(*arguments):
            begun = time.perf_counter()
            result = compiled(*arguments)
            self.first_call = self.first_call or time.perf_counter() - begun
            return result

        return call


def load(folder: str):
    """The model, and a prompt."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    seeded = torch.Generator().manual_seed(0)
    prompt = torch.randint(model.config.vocab_size, (1, PROMPT_TOKENS), generator=seeded)
    return model, prompt


def measure_first(lane: str, folder: str) -> dict[str, float]:
    """The first call of a compiled model, in seconds, and the second for comparison."""
    import torch

    torch._inductor.config.force_disable_caches = True
    model, prompt = load(folder)
    backend = TimedBackend(lane)
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    with torch.no_grad():
        begun = time.perf_counter()
        compiled(input_ids=prompt, use_cache=False)
        total = time.perf_counter() - begun
        begun = time.perf_counter()
        compiled(input_ids=prompt, use_cache=False)
        second = time.perf_counter() - begun
    return {
        "Dynamo": total - backend.graph - backend.first_call,
        "AOTAutograd": backend.graph - backend.own,
        "ATen graph to callable": backend.own,
        "its first call": backend.first_call,
        "second call": second,
    }


def measure_start(lane: str, folder: str, cache: str) -> dict[str, float]:
    """Seconds from the start of the process to imports, the loaded model, and the first token."""
    import torch
    import transformers  # noqa: F401

    imported = time.time()
    model, prompt = load(folder)
    loaded, spent = time.time(), time.process_time()
    if lane == "ostinato.compile":
        import ostinato

        model = ostinato.compile(model)
    elif lane == "cache_compile":
        from ostinato.inference import cache_compile

        model = cache_compile(model.forward, dynamic=False, cache_dir=cache)
    elif lane != "eager":
        model = torch.compile(model, backend=backend_of(lane), fullgraph=True)
    with torch.no_grad():
        int(model(input_ids=prompt, use_cache=False).logits[0, -1].argmax())
    answered, spent = time.time(), time.process_time() - spent
    begun = float(os.environ["STARTUP_BEGUN"])
    return {
        "imports": imported - begun,
        "load": loaded - imported,
        "to the first token": answered - loaded,
        "processor time of it": spent,
        "whole process": answered - begun,
        "graphs traced": torch._dynamo.utils.counters["stats"]["unique_graphs"],
    }


def in_a_process(measurement: str, *arguments: str, cache: str = "") -> dict[str, float]:
    """What a measurement in a new process gives."""
    environment = os.environ | {"STARTUP_BEGUN": repr(time.time())}
    if cache:
        environment["TORCHINDUCTOR_CACHE_DIR"] = f"{cache}/inductor"
    command = [sys.executable, __file__, "--measure", measurement, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def medians(measured: list[dict[str, float]]) -> dict[str, float]:
    """By name, over the rounds; of an even number of rounds, the lower one."""
    return {name: statistics.median_low(item[name] for item in measured) for name in measured[0]}


def in_turns(lanes: list[str], rounds: int, measurement: str, *arguments: str, cache: str = ""):
    """The medians by lane; the lanes take turns, so that a machine that drifts hits all alike."""
    measured: dict[str, list[dict[str, float]]] = {lane: [] for lane in lanes}
    for _ in range(rounds):
        for lane, found in measured.items():
            found.append(in_a_process(measurement, lane, *arguments, cache=cache))
    return {lane: medians(found) for lane, found in measured.items()}


def table(title: str, rows: dict[str, dict[str, float]], digits: int) -> str:
    """Markdown."""
    names = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for lane, row in rows.items():
        cells = [f"{v:.{digits}f}" if isinstance(v, float) else f"{v}" for v in row.values()]
        lines.append(f"| {lane} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def model_folder(given: str | None):
    """The folder given, or one with a model that is made for the time being."""
    if given:
        yield given
        return
    command = os.environ.get("OSTINATO_BINARY", "ostinato")
    with tempfile.TemporaryDirectory(prefix="ostinato-startup-") as folder:
        target = str(Path(folder) / "model")
        arguments = ["new-model", "qwen3-0.6b", target, "--dtype", "bfloat16"]
        subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL)
        yield target


def print_start(folder: str, lanes: list[str], rounds: int):
    """The lanes' starts with a cache that an earlier process has filled."""
    with tempfile.TemporaryDirectory(prefix="ostinato-startup-") as cache:
        first = {lane: in_a_process("start", lane, folder, cache, cache=cache) for lane in lanes}
        later = in_turns(lanes, rounds, "start", folder, cache, cache=cache)
    print(table("first process, s", first, 2))
    print(table("later process, s", later, 2))


def main():
    """Measures what is asked for, and prints it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ("call", "first", "start")
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds, help="these parts")
    parser.add_argument("--lanes", nargs="+", help="these lanes of each part")
    parser.add_argument("--model", help="a folder with a causal language model")
    parser.add_argument("--rounds", type=int, default=3, help="processes a line; their median")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)  # within a process
    given = parser.parse_args()
    if given.measure:
        name, *arguments = given.measure
        measure = {"call": measure_call, "first": measure_first, "start": measure_start}[name]
        print(json.dumps(measure(*arguments)))
        return

    def chosen(lanes):
        return [lane for lane in lanes if given.lanes is None or lane in given.lanes]

    if "call" in given.only:
        rows = in_turns(chosen(CALL_LANES), given.rounds, "call")
        print(table("one operator, µs", rows, 1))
    if {"first", "start"} & set(given.only):
        with model_folder(given.model) as folder:
            if "first" in given.only:
                rows = in_turns(chosen(FIRST_LANES), given.rounds, "first", folder)
                print(table("first call, s", rows, 2))
            if "start" in given.only:
                print_start(folder, chosen(START_LANES), given.rounds)


if __name__ == "__main__":
    main()
