"""What a compiled result depends on, as text that can be compared and explained."""

import functools
import hashlib
import inspect
import os
import platform
import sys
import types
from pathlib import Path
from typing import Any

import torch

from ostinato import _engine

_TORCH = os.path.dirname(torch.__file__) + os.sep
_HIDDEN = {"_parameters", "_buffers", "_modules"}
_OF_PROCESS = {"_original_object_hash"}  # transformers' generation_config: a hash() of texts
_DEPTH = 8


def digest(text: str | bytes) -> str:
    """Sixteen hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()[:16]


def of_code(code: types.CodeType) -> str:
    """The bytecode with its constants and names, whatever file it is in."""
    constants = [of_code(c) if inspect.iscode(c) else _Plain()(c) for c in code.co_consts]
    parts = [code.co_code.hex(), *constants, *code.co_names, *code.co_varnames, *code.co_freevars]
    return digest("\0".join(parts))


def of_function(function: Any) -> str:
    """A callable: its name, and its bytecode, defaults and closure where it has them."""
    if isinstance(function, functools.partial):
        return digest(f"{of_function(function.func)} {_Plain()(vars_of_partial(function))}")
    if inspect.ismethod(function):
        function = function.__func__
    if not inspect.isfunction(function):
        call = type(function).__call__
        if not inspect.isfunction(call):  # a builtin, or an operator
            return repr(function)
        text = f"{type(function).__qualname__} {of_code(call.__code__)} {_Plain()(function)}"
        return digest(text)
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(_Plain()(cell.cell_contents))
        except ValueError:  # not filled yet
            cells.append("")
    defaults = _Plain()([function.__defaults__, function.__kwdefaults__])
    return digest("\0".join([function.__qualname__, of_code(function.__code__), defaults, *cells]))


def vars_of_partial(function: functools.partial) -> list:
    """What a partial adds to its function."""
    return [function.args, function.keywords]


class _Plain:
    """Values as text without addresses; the second time an object is met it is a number."""

    def __init__(self):
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []  # ids stay taken

    def __call__(self, value: Any, depth: int = 0) -> str:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return repr(value)
        if isinstance(value, (torch.dtype, torch.device, torch.Size, torch._ops.OpOverload)):
            return str(value)
        if isinstance(value, torch.Tensor):
            return f"{value.dtype}{tuple(value.shape)}"
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if hasattr(type(value), "fingerprint"):
            return value.fingerprint()
        if id(value) in self.seen:
            return f"#{self.seen[id(value)]}"
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)
        if depth == _DEPTH or isinstance(value, (torch.nn.Module, types.ModuleType)):
            return type(value).__qualname__
        if isinstance(value, dict):
            items = [
                f"{self(k, depth + 1)}: {self(v, depth + 1)}"
                for k, v in value.items()
                if k not in _OF_PROCESS
            ]
            return "{" + ", ".join(items) + "}"
        if isinstance(value, (list, tuple)):
            return f"{type(value).__name__}[{', '.join(self(v, depth + 1) for v in value)}]"
        if isinstance(value, (set, frozenset)):
            return "{" + ", ".join(sorted(self(v, depth + 1) for v in value)) + "}"
        if inspect.isfunction(value) or inspect.ismethod(value):
            return f"{value.__qualname__} {of_function(value)}"
        return f"{type(value).__qualname__} {self(getattr(value, '__dict__', None), depth + 1)}"


def of_attributes(module: torch.nn.Module) -> str:
    """All that modules hold beside tensors: classes, settings, hooks, `training`."""
    plain = _Plain()
    lines = []
    for name, child in module.named_modules(remove_duplicate=False):
        held = {key: value for key, value in vars(child).items() if key not in _HIDDEN}
        lines.append(f"{name}: {plain(type(child))} {plain(held)}")
    return digest("\n".join(lines))


def of_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """The kinds of the module's tensors, and which are the same; not their elements."""
    first: dict[int, str] = {}
    lines = []
    for name, tensor in tensors.items():
        same = first.setdefault(id(tensor), name)
        kind = (tensor.dtype, tuple(tensor.shape), tensor.stride(), str(tensor.device))
        lines.append(f"{name} {same} {kind} {tensor.requires_grad} {tensor.is_inference()}")
    return digest("\n".join(lines))


@functools.lru_cache(maxsize=4096)
def _of_file(path: str, changed: int, size: int) -> str:
    return digest(Path(path).read_bytes())


def of_file(path: str) -> str:
    """The content of a source file; empty where it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return _of_file(path, found.st_mtime_ns, found.st_size)


def is_of_torch(path: str) -> bool:
    """Whether PyTorch's version stands for the file."""
    return path.startswith(_TORCH)


def _classes(module: torch.nn.Module) -> set[type]:
    return {base for child in module.modules() for base in type(child).__mro__}


def methods_of(module: torch.nn.Module) -> dict[types.CodeType, str]:
    """The code of all methods of the module's classes that are in no file, and its fingerprint."""
    found = {}
    for cls in _classes(module):
        for value in vars(cls).values():
            value = getattr(value, "__func__", value)
            if inspect.isfunction(value) and not os.path.isfile(value.__code__.co_filename):
                found[value.__code__] = f"{cls.__qualname__}.{value.__name__} {of_function(value)}"
    return found


def of_sources(module: torch.nn.Module) -> dict[str, str]:
    """The files that the module's classes are in, but for PyTorch's, and their contents."""
    files = {
        sys.modules[cls.__module__].__file__
        for cls in _classes(module)
        if getattr(sys.modules.get(cls.__module__), "__file__", None)
    }
    return {path: of_file(path) for path in sorted(files) if not is_of_torch(path)}


@functools.cache
def of_package() -> str:
    """This package's own files and the engine's."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), Path(_engine.__file__)]
    return digest("".join(of_file(str(path)) for path in files))


def of_platform() -> dict[str, str]:
    """Versions, and the machine."""
    return {
        "ostinato": f"{_engine.__version__} {of_package()}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "OSTINATO_ISA": os.environ.get("OSTINATO_ISA", ""),
    }
