"""The automatic cache behind `torch.compile`: what AOTAutograd and the import make of a graph.

A trace lies in ROOT/graphs/CALLS/KEY/trace, with `trace.1` to `.7` for other conditions on sizes.
CALLS is a digest of the calls of Dynamo's graph, KEY one of all else that tracing depends on. The
conditions that tracing has put on sizes are kept, and put on them again at a hit.
"""

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch._guards import TracingContext
from torch.fx import GraphModule

from ostinato import fingerprint
from ostinato._engine import Error
from ostinato.artifact import (
    UnusableFileError,
    check_folder,
    make_folders,
    nearest_differences,
    read_file,
    write_file,
)
from ostinato.diagnostics import report
from ostinato.graph_key import key_of, text_of_calls
from ostinato.guards import Knowledge, UnstorableError, decode, describe, evaluate
from ostinato.options import Options
from ostinato.plan import RunnerPlan

log = logging.getLogger("ostinato")

_VARIANTS = 8  # stored traces of one key
_KEPT = 512  # files in all; those used longest ago go
_OWN = ("the inputs", "what is known of sizes", "the source lines")  # no news where other


def _root() -> Path:
    given = os.environ.get("OSTINATO_CACHE_DIR")
    if given:
        return Path(given).absolute() / "graphs"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "ostinato" / "graphs"


def _digest(text: str) -> str:
    return fingerprint.digest(text) + fingerprint.digest(text[::-1])


def _context() -> TracingContext:
    context = TracingContext.try_get()
    if context is None or context.fake_mode is None or context.fake_mode.shape_env is None:
        raise UnstorableError("it is not Dynamo that compiles")
    return context


def _runner(document: dict[str, Any], elements: list[bytes], gm: GraphModule, options: Options):
    runner = RunnerPlan.from_data(document, elements).runner(options.runner_options())
    runner.fall_back(lambda arguments: gm.forward(*arguments))
    return torch._dynamo.disable(
        lambda *arguments: runner(list(arguments)), reason="do not trace a stored graph"
    )


class GraphCache:
    """The stored traces of one graph of Dynamo's. Nothing of it raises."""

    def __init__(self, gm: GraphModule, example_inputs, options: Options):
        self._gm = gm
        self._options = options
        self._count = len(example_inputs)
        self._importer = None
        self._metadata = None
        self._free = None  # the first file that is not there yet
        try:
            self._context = _context()
            self._env = self._context.fake_mode.shape_env
            self._knowledge = Knowledge(self._env)
            self._sizes = self._find_sizes()
            self._guards = self._count_guards()
            self._key = key_of(gm, example_inputs, self._knowledge, options)
            self._root = _root()
            self._folder = self._root / _digest(text_of_calls(gm)) / _digest(json.dumps(self._key))
        except UnstorableError as error:
            log.info("the graph is traced anew: %s", error)
        except (AttributeError, RuntimeError) as error:  # another PyTorch; no home
            log.info("there is no cache: %s", error)
        else:
            self._free = 0

    def _find_sizes(self) -> dict[str, torch.SymInt]:
        """The symbols that inputs tell, each by its name."""
        found = {}
        for node in self._gm.graph.find_nodes(op="placeholder"):
            value = node.meta.get("example_value")
            sizes = [value]
            if isinstance(value, torch.Tensor):
                sizes = [*value.shape, *value.stride(), value.storage_offset()]
            for size in sizes:
                if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                    if size.node.hint is None:
                        raise UnstorableError("a size depends on data")
                    found.setdefault(size.node.expr.name, size)
        return found

    def _count_guards(self) -> tuple[int, int]:
        """How many guards there are that are not on sizes."""
        guards = self._context.guards_context
        return len(guards.dynamo_guards.inner), len(guards.aotautograd_guards)

    def find(self):
        """The callable for the graph where a stored trace is for it, else None."""
        if self._free is None:
            return None
        reason = ""
        while self._free < _VARIANTS:
            path = self._path(self._free)
            try:
                document, elements = self._read(path)
                reason = self._mismatch(document)
                if not reason:
                    compiled = _runner(document, elements, self._gm, self._options)
                    self._add_conditions(document)
                    log.info("loaded %s", path)
                    with contextlib.suppress(OSError):
                        os.utime(path)
                    return compiled
            except FileNotFoundError:
                break
            except (OSError, UnusableFileError) as error:
                return self._miss(str(error))
            except (
                Error,
                ArithmeticError,
                AttributeError,
                LookupError,
                TypeError,
                ValueError,
            ) as e:
                return self._miss(f"{path} is unusable: {e!r}")
            self._free += 1
        if reason:
            return self._miss(f"its {self._free} stored traces are for other sizes: {reason}")
        return self._explain()

    def _path(self, index: int) -> Path:
        return self._folder / ("trace" if index == 0 else f"trace.{index}")

    def _read(self, path: Path) -> tuple[dict[str, Any], list[bytes]]:
        folder = self._root
        check_folder(folder.resolve(strict=True))
        for part in self._folder.relative_to(folder).parts:
            folder = folder / part
            check_folder(folder)
        document, elements = read_file(path)
        if document["key"] != self._key:
            raise UnusableFileError(f"{path} is of another key")
        return document, elements

    def _mismatch(self, document: dict[str, Any]) -> str:
        """Why a trace is not for the sizes at hand; empty where it is."""
        hints = {name: int(size.node.hint) for name, size in self._sizes.items()}
        for condition in document["conditions"]:
            if not evaluate(condition, hints):
                return f"{hints} do not meet {describe(condition)}"
        return ""

    def _add_conditions(self, document: dict[str, Any]):
        """Puts the conditions of a trace on Dynamo's sizes, as tracing would have done."""
        symbols = {name: size.node.expr for name, size in self._sizes.items()}
        for condition in document["conditions"]:
            if not self._env.create_symboolnode(decode(condition, symbols)):
                raise ValueError(f"PyTorch does not see that {describe(condition)}")

    def _miss(self, reason: str):
        report("CACHE_MISS", "", detail=reason)

    def _explain(self):
        """Says what is other than in the stored trace of the same calls that is nearest."""
        traces = list(self._folder.parent.glob("*/trace"))[:_VARIANTS]
        found = nearest_differences(traces, self._key)
        if not found:
            log.info("there is no stored trace of the graph yet")
            return
        text = f"other than in the stored trace: {', '.join(list(found.values())[:3])}"
        if any(name in _OWN for name in found):
            log.info("%s", text)
        else:
            self._miss(text)

    def on_import(self, importer, runner):
        """Notes what AOTAutograd and the import make of the graph."""
        self._importer = importer
        self._metadata = self._context.fw_metadata if self._free is not None else None

    def keep(self):
        """Stores what was made of the graph, where it is all that was made."""
        if self._free is None:
            return
        try:
            self._require_whole()
            document, elements = self._importer.plan.to_data()
            document["conditions"] = self._knowledge.since(set(self._sizes))
            document["key"] = self._key
            if self._free == _VARIANTS:
                raise UnstorableError(f"there are {_VARIANTS} traces already")
            make_folders(self._root, self._folder)
            write_file(self._path(self._free), document, elements)
            _drop_oldest(self._root)
        except (UnstorableError, UnusableFileError, OSError, AttributeError) as error:
            log.info("the trace is not stored: %s", error)

    def _require_whole(self):
        """UnstorableError where AOTAutograd does more than to run the graph on the inputs."""
        importer, metadata = self._importer, self._metadata
        if importer is None or importer.plan is None:
            raise UnstorableError("the engine does not run the whole graph")
        for found, reason in (
            (metadata.num_outputs_aliased, "results share memory with inputs or each other"),
            (metadata.num_intermediate_bases, "results share memory with each other"),
            (metadata.num_mutated_inp_runtime_indices, "an input's type or shape is changed"),
            (metadata.tokens, "the graph has effects"),
            (metadata.grad_enabled_mutation is not None, "the graph sets the mode of gradients"),
            (len(importer.placeholders) != self._count, "inputs share memory"),
            (self._count_guards() != self._guards, "tracing has put guards on more than sizes"),
        ):
            if found:
                raise UnstorableError(reason)


def _drop_oldest(root: Path):
    files = list(root.glob("*/*/trace*"))
    if len(files) <= _KEPT:
        return
    used = {}
    for path in files:
        with contextlib.suppress(OSError):
            used[path] = path.stat().st_mtime_ns
    for path in sorted(used, key=used.get)[: len(used) - _KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()
            path.parent.parent.rmdir()


def cached(gm: GraphModule, example_inputs, options: Options, compile_graph):
    """What `compile_graph` makes of a prepared graph, from the cache where that can be.

    It is called with an observer of the import. A failed trace raises as it does.
    """
    if torch.compiler.config.force_disable_caches:
        return compile_graph(None)
    cache = GraphCache(gm, example_inputs, options)
    found = cache.find()
    if found is not None:
        return found
    compiled = compile_graph(cache.on_import)
    cache.keep()
    return compiled
