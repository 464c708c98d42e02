"""`cache_compile`: a compiled method that later processes start without tracing it again."""

import contextlib
import functools
import hashlib
import inspect
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import torch

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
from ostinato.guards import UnstorableError, describe
from ostinato.method import Call, Entry, Observer, sources_of, take_apart, untagged, write
from ostinato.options import Options, make_options
from ostinato.placement import placed
from ostinato.ranks import world_and_rank
from ostinato.weights import LiveTensors

__all__ = ["cache_compile", "readable_cache"]

log = logging.getLogger("ostinato")

ROOT = ".ostinato_cache"
_VARIANTS = 8  # stored traces of one method, as Dynamo's recompile_limit
_PASSES = ("post_grad_custom_pre_pass", "post_grad_custom_post_pass")


def cache_compile(
    func,
    *,
    dynamic: bool = True,
    cache_dir: str | os.PathLike | None = None,
    global_rank: int | None = None,
    tp_rank: int | None = None,
    pp_rank: int | None = None,
    options: dict[str, Any] | None = None,
    custom_decompositions: dict | None = None,
):
    """A bound method of a module, compiled as one graph at its first call and kept on disk.

    A call that finds its trace on disk takes no part of Dynamo's or AOTAutograd's; parameters are
    the live module's. docs/torch-backend.md says what decides over a hit.
    """
    module = getattr(func, "__self__", None)
    if not inspect.ismethod(func) or not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"expected a bound method of a torch.nn.Module, such as model.forward, got {func!r}"
        )
    for name, value in (("global_rank", global_rank), ("tp_rank", tp_rank), ("pp_rank", pp_rank)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"expected an int of at least 0 for {name}, got {value!r}")
    chosen = make_options(options)
    root = Path(cache_dir or os.environ.get("OSTINATO_CACHE_DIR") or ROOT).absolute()
    place = _Place(root, dynamic, _ranks(global_rank, tp_rank, pp_rank))
    return functools.update_wrapper(_CachedMethod(func, place, chosen, custom_decompositions), func)


def _ranks(global_rank, tp_rank, pp_rank) -> str:
    """The part of the path that keeps processes of one job apart."""
    world = 1
    if job := world_and_rank():
        world = job[0]
        global_rank = job[1] if global_rank is None else global_rank
    text = "" if global_rank is None else f"world{world}global_rank{global_rank}"
    text += "" if tp_rank is None else f"_tp_rank{tp_rank}"
    text += "" if pp_rank is None else f"_pp_rank{pp_rank}"
    return text.removeprefix("_")


class _Place:
    """Where a method's traces lie."""

    def __init__(self, root: Path, dynamic: bool, ranks: str):
        self.root = root
        self.dynamic = dynamic
        self._ranks = ranks

    def _prefix(self, func) -> str:
        kind = "dynamic" if self.dynamic else "static"
        return f"{type(func.__self__).__name__}_{kind}_ostinatocache_"

    def _below(self, folder: Path, func) -> Path:
        return folder / self._ranks / func.__name__ if self._ranks else folder / func.__name__

    def folder(self, func, key: dict[str, str]) -> Path:
        """For traces under the key."""
        md5 = hashlib.md5(json.dumps(key, sort_keys=True).encode(), usedforsecurity=False)
        return self._below(self.root / (self._prefix(func) + md5.hexdigest()), func)

    def others(self, func) -> list[Path]:
        """First traces of the method under other keys, the latest first."""
        found = [
            path
            for folder in self.root.glob(self._prefix(func) + "*")
            if (path := self._below(folder, func) / "compiled_module").is_file()
        ]
        return sorted(found, key=lambda path: -path.stat().st_mtime)

    @staticmethod
    def file(folder: Path, index: int) -> Path:
        """Of one trace."""
        return folder / ("compiled_module" if index == 0 else f"compiled_module.{index}")


def key_of(func, options: Options, decompositions: dict | None) -> dict[str, str]:
    """What a trace of the method depends on, each by a name for explanations."""
    module = func.__self__
    key = {
        "the method": fingerprint.of_function(func),
        "the module's printed form": fingerprint.digest(repr(module)),
        "the module's classes or settings": fingerprint.of_attributes(module),
        "the dtypes, shapes or sharing of the module's tensors": fingerprint.of_tensors(
            LiveTensors(module).all()
        ),
        "the code of methods that are in no file": fingerprint.digest(
            "\n".join(sorted(fingerprint.methods_of(module).values()))
        ),
        "custom_decompositions": fingerprint.digest(
            "\n".join(
                f"{target} {fingerprint.of_function(function)}"
                for target, function in (decompositions or {}).items()
            )
        ),
        **{f"the source {path}": text for path, text in fingerprint.of_sources(module).items()},
        **fingerprint.of_platform(),
    }
    for name, value in vars(options).items():
        is_pass = name in _PASSES and value is not None
        key[f"the option {name}"] = fingerprint.of_function(value) if is_pass else repr(value)
    return key


class _CachedMethod:
    """The traces of one method."""

    def __init__(self, func, place: _Place, options: Options, decompositions: dict | None):
        self._func = func
        self._place = place
        self._options = options
        self._decompositions = decompositions
        self._signature = inspect.signature(func)
        self._lock = threading.Lock()
        self._tensors: LiveTensors | None = None
        self._entries: list[Entry] = []
        self._plain = None  # torch.compile, where a trace cannot be stored

    def fingerprint(self) -> str:
        """In keys of modules that hold it: nothing of what it has done so far."""
        return f"cache_compile {self._func.__qualname__}"

    def __call__(self, *args, **kwargs):
        if self._needs_gradients(args, kwargs):
            report("BACKWARD", self._func.__qualname__, strict=self._options.strict)
            return self._func(*args, **kwargs)
        if self._plain is not None:
            return self._plain(*args, **kwargs)
        call = take_apart(self._signature, args, kwargs)
        if self._tensors is None or not self._tensors.unchanged():
            self._begin()
        for entry in self._entries:
            if not entry.mismatch(call):
                return entry(call)
        with self._lock:
            return self._next(args, kwargs)

    def _needs_gradients(self, args, kwargs) -> bool:
        if not torch.is_grad_enabled():
            return False
        tensors = [*self._func.__self__.parameters(), *args, *kwargs.values()]
        return any(isinstance(item, torch.Tensor) and item.requires_grad for item in tensors)

    def _begin(self):
        """Forgets the traces of a module that is not as it was, and finds those of its new key."""
        with self._lock:
            self._tensors = LiveTensors(self._func.__self__)
            self._entries = []
            self._key = key_of(self._func, self._options, self._decompositions)
            self._folder = self._place.folder(self._func, self._key)

    def _next(self, args, kwargs):
        """A call that no loaded trace is for: loads the others, or traces."""
        call = take_apart(self._signature, args, kwargs, with_names=True)
        tensors = [*self._tensors.all().values(), *call.leaves]
        here = placed(self._options, [item for item in tensors if isinstance(item, torch.Tensor)])
        reasons = []
        for entry in self._entries:  # another thread may have been faster
            reason = entry.mismatch(call)
            if not reason:
                return entry(call)
            reasons.append(reason)
        while len(self._entries) < _VARIANTS:
            entry = self._load(len(self._entries), here)
            if entry is None:
                break
            self._entries.append(entry)
            reason = entry.mismatch(call)
            if not reason:
                log.info("loaded %s", self._place.file(self._folder, len(self._entries) - 1))
                return entry(call)
            reasons.append(reason)
        if reasons:
            self._miss(f"its {len(reasons)} stored traces are for other calls: {reasons[-1]}")
        else:
            self._explain()
        if len(self._entries) == _VARIANTS:
            return self._give_up(f"there are {_VARIANTS} already", args, kwargs)
        return self._trace(call, here, args, kwargs)

    def _miss(self, reason: str):
        report("CACHE_MISS", self._func.__qualname__, detail=reason)

    def _explain(self):
        """Says what is other than in the stored trace that is nearest, where there is one."""
        found = nearest_differences(self._place.others(self._func)[:_VARIANTS], self._key)
        if not found:
            log.info("there is no stored trace of %s yet", self._func.__qualname__)
            return
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        described = ", ".join(list(found.values())[:3])
        self._miss(f"other than in the stored trace: {described}{more}")

    def _load(self, index: int, here: Options) -> Entry | None:
        path = self._place.file(self._folder, index)
        try:
            self._check_folders()
            document, elements = read_file(path)
            if document["key"] != self._key:
                raise UnusableFileError(f"{path} is of another key")
            for source, content in document["sources"].items():
                if fingerprint.of_file(source) != content:
                    raise UnusableFileError(f"the source {source} has changed since")
            entry = Entry(document, elements, here)
            entry.bind(self._tensors)
            return entry
        except FileNotFoundError:
            return None
        except (UnusableFileError, Error, ValueError, KeyError, TypeError, IndexError) as error:
            self._miss(str(error) or repr(error))
            self._remove(index)
            return None

    def _check_folders(self):
        check_folder(self._place.root.resolve())
        folder = self._place.root
        for part in self._folder.relative_to(self._place.root).parts:
            folder = folder / part
            check_folder(folder)

    def _remove(self, index: int):
        """Takes the file away, and those after it."""
        with contextlib.suppress(OSError, UnusableFileError):
            self._check_folders()
            for i in range(index, _VARIANTS):
                path = self._place.file(self._folder, i)
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _trace(self, call: Call, here: Options, args, kwargs):
        func = self._func
        observer = Observer(self._options, self._decompositions)
        compiled = torch.compile(
            func, backend=observer, fullgraph=True, dynamic=self._place.dynamic
        )
        tensors = self._tensors.all()
        before = fingerprint.of_attributes(func.__self__)
        with torch._dynamo.config.patch(specialize_float=True):
            result = compiled(*args, **kwargs)
        try:
            after = take_apart(self._signature, args, kwargs)
            same_leaves = len(after.leaves) == len(call.leaves) and all(
                new is old for new, old in zip(after.leaves, call.leaves, strict=True)
            )
            same_tensors = {name: id(tensor) for name, tensor in tensors.items()} == {
                name: id(tensor) for name, tensor in LiveTensors(func.__self__).all().items()
            }
            if not same_leaves or not same_tensors:
                raise UnstorableError("the method changes arguments or the module itself")
            if before != fingerprint.of_attributes(func.__self__):
                raise UnstorableError("the method changes attributes of the module")
            document, elements = write(observer, call, tensors, result)
            document["sources"] = sources_of(observer.code, fingerprint.methods_of(func.__self__))
        except UnstorableError as error:
            self._miss(f"the trace cannot be stored: {error}")
            self._plain = compiled
            return untagged(result)
        document["key"] = self._key
        document["method"] = self._func.__qualname__
        self._store(document, elements)
        entry = Entry(document, elements, here)
        entry.runner = observer.runner  # its weights are packed
        entry.bind(self._tensors)
        self._entries.append(entry)
        return untagged(result)

    def _give_up(self, reason: str, args, kwargs):
        self._miss(f"no more traces are stored: {reason}")
        self._plain = torch.compile(
            self._func,
            backend=Observer(self._options, self._decompositions),
            fullgraph=True,
            dynamic=self._place.dynamic,
        )
        return self._plain(*args, **kwargs)

    def _store(self, document: dict[str, Any], elements: list[bytes]):
        path = self._place.file(self._folder, len(self._entries))
        try:
            make_folders(self._place.root, self._folder)
            write_file(path, document, elements)
        except (OSError, UnusableFileError) as error:
            self._miss(f"the trace cannot be stored: {error}")


def readable_cache(cache_bin, print_output: bool = True, file=None) -> str:
    """A file of the cache as text; printed, and written to a file, where asked for.

    Symbolic links are refused, as is a file that is damaged or that others can read or write.
    """
    document, _ = read_file(Path(cache_bin))
    text = _describe(document)
    if print_output:
        print(text)
    if file is not None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(file, flags, 0o600)
        except OSError as error:
            raise UnusableFileError(f"{file} cannot be written: {error.strerror}") from error
        with os.fdopen(handle, "w") as target:
            target.write(text)
    return text


def _describe(document: dict[str, Any]) -> str:
    key = ["# Key", *[f"{name}: {value}" for name, value in document["key"].items()]]
    if "method" not in document:  # of the cache behind torch.compile
        lines = [*key, "", "# Conditions", *map(describe, document["conditions"])]
        lines += ["", "# Calls", *[" ".join(map(str, call)) for call in document["calls"]]]
        return "\n".join([*lines, "", "# Graph", document["graph"]])
    lines = [f"method {document['method']}", "", *key]
    lines += ["", "# Sources", *[f"{path}: {sha}" for path, sha in document["sources"].items()]]
    lines += ["", "# Arguments", document["arguments"]["spec"]]
    lines += [f"{i}: {leaf}" for i, leaf in enumerate(document["arguments"]["leaves"])]
    lines += ["", "# Conditions", *map(describe, document["conditions"])]
    lines += [f"{name}: {value or 'none'}" for name, value in document["modes"].items()]
    lines += ["", "# Inputs of the graph", *[" ".join(map(str, i)) for i in document["inputs"]]]
    lines += ["", "# Calls", *[" ".join(map(str, call)) for call in document["calls"]]]
    lines += ["", "# Results", document["results"]["spec"]]
    lines += [" ".join(map(str, leaf)) for leaf in document["results"]["leaves"]]
    return "\n".join([*lines, "", "# Graph", document["graph"]])
