"""The lanes of `ostinato.bench`, each in a process of its own so that its peak memory is its own.

`python -m ostinato.lanes FD PROCESSOR...` is such a process: kept to the processors, it answers
requests that come over the socket FD, and ends when its other end is closed.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ostinato import _engine

# What each lane runs as, as the report's `mode` has it.
MODES = {
    "golden": "torch",
    "torch": "torch",
    "inductor": "inductor",
    "eager": "eager",
    "graph": "graph",
}


class BenchError(_engine.Error):
    """What stops a bench, with `hint`, the remedy."""

    def __init__(self, message: str, hint: str):
        super().__init__(f"[bench] {message}. {hint}")
        self.code = "invalid_argument"
        self.stage = "bench"
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class LaneSpec:
    """A lane to be: how, and what."""

    name: str  # a key of MODES
    model: str  # a HuggingFace folder, or a file with a pickled module
    dtype: str | None  # of weights and inputs; None: the module's own
    threads: int
    processors: list[int]
    weights: str  # as asked for: pretrained, random or given
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)  # of the backend
    dynamic: bool | None = None
    script: str | None = None  # that defines the module's classes, where it is the program run
    batches: str = ""  # a file with the inputs of each


class LaneClient:
    """A lane as the engine's bench drives it: JSON goes over as text."""

    def __init__(self, spec: LaneSpec):
        self.spec = spec
        self.name = spec.name
        self._connection, remote = Pipe()
        path = os.pathsep.join(entry for entry in sys.path if entry)
        processors = [str(processor) for processor in spec.processors]
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(spec.threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ostinato.lanes", str(remote.fileno()), *processors],
            pass_fds=[remote.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a model prints is no part of the report
            start_new_session=True,  # Ctrl-C is for the bench, which ends its lanes
        )
        remote.close()

    def open(self):
        """Loads the model."""
        self._ask("open", self.spec)

    def _ask(self, what: str, *arguments):
        try:
            self._connection.send((what, arguments))
            kind, value = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            code = self._process.wait()
            how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with {code}"
            raise BenchError(
                f"the process of the lane {self.name} ended {how}",
                "If the system was out of memory, use a smaller batch or fewer lanes.",
            ) from error
        if kind == "error":
            raise BenchError(f"the lane {self.name} failed: {value[0]}", value[1])
        return value

    def first_call(self) -> str:
        """Compiles for the next batch and runs it once."""
        return self._ask("first_call")

    def outputs(self) -> list:
        """What that gave: names and tensors."""
        import torch

        data = self._ask("outputs")
        return list(torch.load(io.BytesIO(data), weights_only=True).items())

    def warm_up(self, iterations: int):
        """Calls that are not timed."""
        self._ask("warm_up", iterations)

    def time(self, iterations: int, budget_ms: float) -> str:
        """Calls that are timed: `samples_ms`."""
        return self._ask("time", iterations, budget_ms)

    def memory(self) -> str:
        """The process's peaks so far."""
        return self._ask("memory")

    def close(self):
        """Ends the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


def cast(module, dtype):
    """Gives parameters and persistent buffers that are floating another dtype, in place.

    Other buffers, such as the frequencies of rotary embeddings, keep the dtype that the model
    computes them in, as with `from_pretrained(dtype=...)`; for float32 they are cast too.
    """
    import torch

    kept = set(module.state_dict(keep_vars=True)) if dtype != torch.float32 else None
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
        for name, buffer in list(module.named_buffers(remove_duplicate=False)):
            if buffer.is_floating_point() and (kept is None or name in kept):
                owner, _, leaf = name.rpartition(".")
                module.get_submodule(owner)._buffers[leaf] = buffer.to(dtype)
    return module


def weights_of(folder: str) -> str:
    """`random` where the metadata of a folder's weights say so, as `ostinato new-model` has it."""
    from safetensors import safe_open

    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("weights") == "random":
                return "random"
    return "pretrained"


def architecture_of(folder: str):
    """The class of transformers that a folder's configuration names, and the configuration."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    name = config.architectures[0] if config.architectures else "none"
    cls = getattr(transformers, name, None)
    if cls is None:
        raise BenchError(
            f"expected an architecture of transformers {transformers.__version__} in "
            f"{folder}/config.json, got {name}",
            "Load the model yourself and call ostinato.bench(model, inputs).",
        )
    return cls, config


def load_folder(folder: str, dtype, weights: str, seed: int):
    """The model of a HuggingFace folder, in evaluation mode.

    With `weights` "random" they are drawn from the seed, unless the folder has random ones; else
    none may be missing in the folder.
    """
    import torch

    cls, config = architecture_of(folder)
    wanted = dtype or config.dtype or torch.float32
    if weights == "random" and weights_of(folder) != "random":
        torch.manual_seed(seed)
        return cast(cls(config).float(), wanted).eval()
    model, found = cls.from_pretrained(
        folder, dtype=wanted, local_files_only=True, output_loading_info=True
    )
    if missing := sorted(found["missing_keys"]):
        raise BenchError(
            f"{folder} lacks {len(missing)} of the weights of {cls.__name__}, {missing[0]} first",
            "Give a folder that has them all, or ask for random weights.",
        )
    return model.eval()


def dtype_name(module, inputs) -> str:
    """The floating dtype that most of a module's numbers have, or its inputs, such as bfloat16."""
    import torch

    counts: dict[str, int] = {}
    tensors = [*module.parameters(), *module.buffers()]
    tensors += torch.utils._pytree.tree_leaves(inputs) if not tensors else []
    for tensor in tensors:
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            name = str(tensor.dtype).removeprefix("torch.")
            counts[name] = counts.get(name, 0) + tensor.numel()
    return max(counts, key=counts.__getitem__) if counts else "float32"


def named_leaves(result, name: str = "") -> dict:
    """The tensors of a model's result by name, through tuples, lists, dictionaries and classes.

    Names are the keys, indices and fields on the way, joined by dots; numbers are tensors of one
    element, and what is None is left out.
    """
    import torch
    from torch.utils import _pytree

    if result is None:
        return {}
    if isinstance(result, torch.Tensor):
        return {name or "output": result.detach().contiguous().clone()}
    if isinstance(result, (bool, int)):
        return {name or "output": torch.tensor(result)}
    if isinstance(result, float):
        return {name or "output": torch.tensor(result, dtype=torch.float32)}
    if isinstance(result, Mapping):
        parts = result.items()
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        parts = zip(result._fields, result, strict=True)
    elif isinstance(result, (tuple, list)):
        parts = enumerate(result)
    elif is_dataclass(result):
        parts = ((part.name, getattr(result, part.name)) for part in fields(result))
    elif type(result) in _pytree.SUPPORTED_NODES:
        parts = enumerate(_pytree.SUPPORTED_NODES[type(result)].flatten_fn(result)[0])
    else:
        raise BenchError(
            f"expected tensors in what the model returns, got a {type(result).__name__} at "
            f"'{name or 'output'}'",
            "Let the model return tensors only; of a language model, call it with use_cache=False.",
        )
    leaves = {}
    for key, part in parts:
        leaves |= named_leaves(part, f"{name}.{key}" if name else str(key))
    return leaves


class _Lane:
    """The lane on its own process's side."""

    def __init__(self, spec: LaneSpec):
        self.memory_watch = _engine.MemoryWatch()
        self.spec = spec
        with self.memory_watch:
            import torch

            torch.set_num_threads(spec.threads)
            is_folder = os.path.isdir(spec.model)
            if is_folder:
                import transformers

                transformers.utils.logging.disable_progress_bar()
            start = time.perf_counter()
            if spec.script is not None:
                self._prepare_main(spec.script)
            self.torch = torch
            self.dtype = getattr(torch, spec.dtype) if spec.dtype else None
            self.weights = spec.weights
            if is_folder:
                self.module = load_folder(spec.model, self.dtype, spec.weights, spec.seed)
                self.weights = "random" if spec.weights == "random" else weights_of(spec.model)
            else:
                self.module = torch.load(spec.model, weights_only=False, mmap=True)
                if self.dtype is not None:
                    cast(self.module, self.dtype)
            self.batches = torch.load(spec.batches, weights_only=False)
            self.function = self._compile()
        self.unreported_ms = 1e3 * (time.perf_counter() - start)
        self.next = 0
        self.compile_ms = 0.0
        self.known = dict.fromkeys(("passes_ms", "plan_ms", "pack_ms", "capture_ms"), 0.0)

    @staticmethod
    def _prepare_main(script: str):
        # As multiprocessing does for classes of the program that was started.
        scope = runpy.run_path(script, run_name="__mp_main__")
        sys.modules["__main__"].__dict__.update(
            {name: value for name, value in scope.items() if not name.startswith("__")}
        )

    def _compile(self):
        torch, spec = self.torch, self.spec
        if MODES[spec.name] == "torch":
            return self.module
        self._count_compiling()
        torch.compiler.config.force_disable_caches = True  # every first call is a cold one
        if spec.name == "inductor":
            return torch.compile(self.module, backend="inductor", dynamic=spec.dynamic)
        from ostinato.backend import ostinato

        options = {"force_eager": spec.name == "eager", "threads": spec.threads, **spec.options}
        return torch.compile(self.module, backend=ostinato, dynamic=spec.dynamic, options=options)

    def _count_compiling(self):
        """Adds up the time that PyTorch spends compiling, its backend included."""
        from torch._dynamo.callback import callback_handler

        begun = []

        def end(_):
            self.compile_ms += 1e3 * (time.perf_counter() - begun.pop())

        callback_handler.register_start_callback(lambda _: begun.append(time.perf_counter()))
        callback_handler.register_end_callback(end)

    def _call(self):
        with self.torch.inference_mode():
            return self.function(*self.arguments, **self.keywords)

    def first_call(self) -> str:
        self.arguments, self.keywords = self.batches[self.next]
        self.next += 1
        if self.dtype is not None:
            self.arguments, self.keywords = self._cast((self.arguments, self.keywords))
        opened_ms, self.unreported_ms, self.compile_ms = self.unreported_ms, 0.0, 0.0
        start = time.perf_counter()
        with self.memory_watch:
            result = self._call()
        called_ms = 1e3 * (time.perf_counter() - start)
        self.result = named_leaves(result)
        return json.dumps(self._describe(opened_ms, called_ms))

    def _cast(self, tree):
        def to(leaf):
            floating = isinstance(leaf, self.torch.Tensor) and leaf.is_floating_point()
            return leaf.to(self.dtype) if floating else leaf

        return self.torch.utils._pytree.tree_map(to, tree)

    def _describe(self, opened_ms: float, called_ms: float) -> dict:
        figures = json.loads(_engine.engine_figures())
        phases = {name: figures[name] - before for name, before in self.known.items()}
        self.known = {name: figures[name] for name in self.known}
        run_ms = called_ms - self.compile_ms - sum(phases.values())
        if not figures["programs"] and self.spec.name in ("eager", "graph"):
            reasons = self._fallbacks(figures)
            raise BenchError(
                "nothing of the model ran in the engine"
                + (f": {reasons[0]['reason']}" if reasons else ""),
                reasons[0]["remedy"] if reasons else "See TORCH_LOGS=graph_breaks for the reason.",
            )
        result = {
            "device": "cpu",
            "dtype": dtype_name(self.module, (self.arguments, self.keywords)),
            "mode": self._mode(figures),
            "threads": figures["threads"] or self.torch.get_num_threads(),
            "weights": self.weights,
            "fallbacks": self._fallbacks(figures),
            "first_call_ms": opened_ms + called_ms,
            "phases_ms": {
                "import": opened_ms,
                "trace": self.compile_ms,
                **{name.removesuffix("_ms"): value for name, value in phases.items()},
                "run": max(run_ms, 0.0),
            },
        }
        if figures["programs"]:
            result["packed_weight_bytes"] = figures["packed_weight_bytes"]
        if figures["captured"]:
            result["planned_arena_bytes"] = figures["planned_arena_bytes"]
        return result

    def _mode(self, figures: dict) -> str:
        """What really ran, whatever was asked for."""
        if figures["programs"]:
            return "graph" if figures["captured"] else "eager"
        if self.spec.name == "inductor":
            from torch._dynamo.utils import counters

            return "inductor" if counters["stats"]["unique_graphs"] else "torch"
        return "torch"

    def _fallbacks(self, figures: dict) -> list[dict]:
        if "ostinato.diagnostics" not in sys.modules:
            return []
        from ostinato import records

        return figures["fallbacks"] + [
            {
                "node": record.operator or record.code,
                "reason": ": ".join(part for part in (record.code, record.detail) if part)
                + (f" at {record.source}" if record.source else ""),
                "remedy": record.remedy,
            }
            for record in records()
        ]

    def outputs(self) -> bytes:
        buffer = io.BytesIO()
        self.torch.save(self.result, buffer)
        return buffer.getvalue()

    def warm_up(self, iterations: int):
        with self.memory_watch:
            for _ in range(iterations):
                self._call()

    def time(self, iterations: int, budget_ms: float) -> str:
        samples: list[float] = []
        call, clock = self.function, time.perf_counter
        arguments, keywords = self.arguments, self.keywords
        begun = clock()
        with self.torch.inference_mode():
            while len(samples) < iterations:
                start = clock()
                call(*arguments, **keywords)
                samples.append(1e3 * (clock() - start))
                if 1e3 * (clock() - begun) > budget_ms:
                    break
        return json.dumps({"samples_ms": samples})

    def memory(self) -> str:
        return self.memory_watch.memory()


def _serve(connection: Connection):
    lane = None
    while True:
        try:
            what, arguments = connection.recv()
        except (EOFError, ConnectionError):
            return  # the bench is over
        try:
            if what == "open":
                lane, value = _Lane(*arguments), None
            else:
                value = getattr(lane, what)(*arguments)
        except BenchError as error:
            connection.send(("error", (error.message, error.hint)))
        except Exception as error:
            text = " ".join(str(error).split("\n\n")[0].split())
            connection.send(
                (
                    "error",
                    (
                        f"{type(error).__name__}: {text[:500].rstrip('.')}",
                        "Call the model with these inputs in PyTorch and see whether it runs.",
                    ),
                )
            )
        else:
            connection.send(("ok", value))


def _main(socket: str, *processors: str):
    os.sched_setaffinity(0, map(int, processors))  # before PyTorch makes threads
    connection = Connection(int(socket))
    import torch  # noqa: F401  now, since it is no part of loading a model

    _serve(connection)


if __name__ == "__main__":
    # The classes of the requests are those of the module, not of `__main__`.
    from ostinato import lanes

    lanes._main(*sys.argv[1:])
