"""`ostinato.bench`: a PyTorch model's lanes side by side, measured and judged by the engine."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ostinato import _engine
from ostinato.lanes import MODES, BenchError, LaneClient, LaneSpec, dtype_name
from ostinato.options import make_options

_engine.use_tensors_of(torch.Tensor, torch.autograd.graph.increment_version)

DEFAULT_LANES = ("golden", "torch", "eager", "graph")
DTYPES = ("float32", "bfloat16", "float16")


class Report(dict):
    """What a bench found: the keys of docs/report.md. As text it is Markdown."""

    def __str__(self):
        return _engine.report_markdown(json.dumps(self))

    @property
    def passed(self) -> bool:
        """Whether the verdict is no failure; without a verdict nothing has failed."""
        return self["verdict"] != "FAIL"


def _as_call(inputs) -> tuple[tuple, dict[str, Any]]:
    """The arguments and keyword arguments of one call."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, tuple) else (inputs,)), {}


def _describe(call: tuple[tuple, dict[str, Any]], origin: str) -> list[dict]:
    named = {**{str(i): value for i, value in enumerate(call[0])}, **call[1]}
    return [
        {
            "name": name,
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "origin": origin,
        }
        for name, value in named.items()
        if isinstance(value, torch.Tensor)
    ]


def _batch_size(described: list[dict]) -> int:
    return max(1, described[0]["shape"][0]) if described and described[0]["shape"] else 1


def _script_of(module) -> str | None:
    """The program that is run, where it defines classes of the module."""
    if all(type(part).__module__ != "__main__" for part in module.modules()):
        return None
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None:
        raise BenchError(
            f"the class {type(module).__name__} was typed in, and lanes run in other processes",
            "Define it in a file that can be imported.",
        )
    return str(Path(script).resolve())


def _save_module(module, path: Path):
    if module.training:
        raise BenchError("the model is in training mode", "Call model.eval() first.")
    try:
        torch.save(module, path)
    except (AttributeError, TypeError, RuntimeError) as error:
        raise BenchError(
            f"lanes run in other processes, and the model cannot be pickled: {error}",
            "Define its classes at the top of a module, without functions inside of functions.",
        ) from error


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    model: str  # as in LaneSpec
    source: str  # in words: a folder or class
    family: str
    parameters: int  # tied ones once
    dtype: str  # its own
    weights: str  # that it has: pretrained, random or given
    calls: list[tuple[tuple, dict[str, Any]]]  # arguments and keyword arguments, a batch each
    origin: str  # of their values
    notes: list[str]
    script: str | None = None  # as in LaneSpec


@dataclass(frozen=True)
class Settings:
    """How it is measured; `bench` says what they mean."""

    dtype: str | None = None
    lanes: Sequence[str] = DEFAULT_LANES
    threads: int | None = None
    warmup: int = 3
    iterations: int = 100
    seed: int = 0
    dynamic: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False
    output_dir: str | Path | None = None
    progress: Callable[[str], Any] = lambda what: None


def _check(settings: Settings, threads: int):
    lanes, dtype = list(settings.lanes), settings.dtype
    if not lanes or len(set(lanes)) != len(lanes) or not set(lanes) <= set(MODES):
        raise BenchError(
            f"expected different lanes of {', '.join(MODES)}, got {', '.join(lanes) or 'none'}",
            "Name each lane once.",
        )
    if dtype not in (None, *DTYPES):
        raise BenchError(f"expected a dtype of {', '.join(DTYPES)}, got '{dtype}'", "Use one.")
    if lanes == ["golden"] and dtype not in (None, "float32"):
        raise BenchError(
            "golden runs in float32, and it is the only lane", "Add a lane, or leave dtype out."
        )
    if not 1 <= threads <= 1024:
        raise BenchError(f"expected from 1 to 1024 threads, got {threads}", "Ask for fewer.")
    if settings.iterations < 1 or settings.warmup < 0:
        raise BenchError(
            f"expected iterations ≥ 1 and warmup ≥ 0, got {settings.iterations} and "
            f"{settings.warmup}",
            "Ask for at least one timed call.",
        )
    if found := sorted({"force_eager", "threads", "device"} & set(settings.options)):
        raise BenchError(
            f"expected options that the lanes leave open, got {found[0]}",
            "Lanes say how they run, and `threads` with how many threads.",
        )
    make_options(settings.options)


def measure(subject: Subject, settings: Settings) -> Report:
    """Measures what other processes can load."""
    threads = _engine.default_threads() if settings.threads is None else settings.threads
    _check(settings, threads)
    if settings.output_dir is not None:
        _engine.prepare_report_folder(str(settings.output_dir))
    processors = _engine.choose_processors(threads)
    with ExitStack() as stack:
        batches = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ostinato-")))
        batches /= "batches.pt"
        torch.save(subject.calls, batches)
        specs = [
            LaneSpec(
                name=name,
                model=subject.model,
                dtype="float32" if name == "golden" else settings.dtype,
                threads=threads,
                processors=processors,
                weights=subject.weights,
                seed=settings.seed,
                options=dict(settings.options),
                dynamic=settings.dynamic,
                script=subject.script,
                batches=str(batches),
            )
            for name in settings.lanes
        ]
        # All processes begin at once; the models are loaded one after the other.
        clients = [stack.enter_context(closing(LaneClient(spec))) for spec in specs]
        for client in clients:
            settings.progress(f"loading the model for {client.name}")
            client.open()
        text = _engine.run_bench(
            json.dumps(_engine_settings(subject, settings, threads, processors)),
            clients,
            settings.progress,
        )
    if settings.output_dir is not None:
        _engine.write_report(text, str(settings.output_dir))
    return Report(json.loads(text))


def _engine_settings(
    subject: Subject, settings: Settings, threads: int, processors: list[int]
) -> dict[str, Any]:
    """What the engine's bench must know; `asked` is what each lane must say that it ran as."""
    lanes = list(settings.lanes)
    dtype = settings.dtype or subject.dtype
    dtypes = ["float32" if name == "golden" else dtype for name in lanes]
    described = [_describe(call, subject.origin) for call in subject.calls]
    common = {"device": "cpu", "threads": threads, "weights": subject.weights}
    golden = (
        "Golden is PyTorch in float32, op by op; the lane torch, if it ran, is the same in the "
        "dtype of the engine's lanes."
    )
    return {
        "requested": common
        | {
            "dtype": "float32" if lanes == ["golden"] else dtype,
            "mode": lanes,
            "seed": settings.seed,
        },
        "asked": [
            common | {"dtype": dtype, "mode": MODES[name]}
            for name, dtype in zip(lanes, dtypes, strict=True)
        ],
        "model": {
            "source": subject.source,
            "family": subject.family,
            "parameters": subject.parameters,
            "inputs": described[0],
        },
        "batches": [{"batch_size": _batch_size(inputs), "inputs": inputs} for inputs in described],
        "processors": processors,
        "warmup": settings.warmup,
        "iterations": settings.iterations,
        "strict": settings.strict,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "notes": [golden, *subject.notes],
    }


def bench(
    model: torch.nn.Module,
    inputs,
    *,
    dtype: str | torch.dtype | None = None,
    lanes: Sequence[str] = DEFAULT_LANES,
    threads: int | None = None,
    warmup: int = 3,
    iterations: int = 100,
    dynamic: bool | None = None,
    options: Mapping[str, Any] | None = None,
    strict: bool = False,
    output_dir: str | Path | None = None,
    progress: Callable[[str], Any] = lambda what: None,
) -> Report:
    """Puts PyTorch and the engine side by side on a model: how right, how fast, how much memory.

    Each lane runs in a process of its own, kept to the same processors; the timed calls of all
    lanes are taken in turns. `golden` is the model in PyTorch in float32, `torch` the same in the
    dtype of the other lanes, `inductor` is `torch.compile` as it comes, `eager` and `graph` are
    `torch.compile(backend="ostinato")` with and without `force_eager`. The engine judges and writes
    the report, by the same gates and rules as the command `ostinato bench`.

    Args:
        model: in evaluation mode, on the CPU, and such that it can be pickled.
        inputs: of one call: a tensor, a tuple of arguments, or a dictionary of keyword arguments.
            A list of such is measured one after the other. The first dimension of the first tensor
            is the batch.
        dtype: of weights and inputs in every lane but golden, "float32", "bfloat16" or "float16";
            as they are if left out.
        lanes: of "golden", "torch", "inductor", "eager", "graph".
        threads: of every lane; by default `OSTINATO_THREADS`, else one for each processor.
        warmup: calls of each lane before those that are timed.
        iterations: timed calls of each lane; golden stops after five seconds.
        dynamic: as in `torch.compile`.
        options: of the backend; see docs/torch-backend.md.
        strict: whether something that did not run in the engine fails the run.
        output_dir: a folder for report.json and report.md, made if it is not there.
        progress: is called with what comes next, a text.

    Returns:
        The report, a dictionary with the keys of docs/report.md; times in milliseconds, memory in
        bytes. `str()` of it is Markdown; `passed` says whether the gates held.

    Raises:
        ostinato.Error: for arguments that make no bench, a model that fails in a lane, or a folder
            that cannot be written to; with `hint`, the remedy.
    """
    if not isinstance(model, torch.nn.Module):
        raise BenchError(
            f"expected a torch.nn.Module, got {type(model).__name__}", "Wrap it in a module."
        )
    given = inputs if isinstance(inputs, list) else [inputs]
    calls = [_as_call(item) for item in given]
    if not calls:
        raise BenchError("expected inputs, got none", "Give those of one call at least.")
    settings = Settings(
        dtype=str(dtype).removeprefix("torch.") if dtype is not None else None,
        lanes=lanes,
        threads=threads,
        warmup=warmup,
        iterations=iterations,
        dynamic=dynamic,
        options=options or {},
        strict=strict,
        output_dir=output_dir,
        progress=progress,
    )
    with tempfile.TemporaryDirectory(prefix="ostinato-") as folder:
        path = Path(folder) / "model.pt"
        _save_module(model, path)
        subject = Subject(
            model=str(path),
            source=type(model).__name__,
            family=getattr(getattr(model, "config", None), "model_type", "module"),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            dtype=dtype_name(model, calls),
            weights="given",
            calls=calls,
            origin="given",
            notes=["The module was given as it is: nobody can tell where its weights are from."],
            script=_script_of(model),
        )
        return measure(subject, settings)
