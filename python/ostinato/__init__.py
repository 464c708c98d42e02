"""Ostinato captures a model once as a graph and replays it.

`torch.compile(model, backend="ostinato")` needs nothing but this package installed; importing it
needs no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ostinato._engine import Error, __version__

if TYPE_CHECKING:
    from ostinato.backend import compile_fx
    from ostinato.benchmark import bench
    from ostinato.diagnostics import CompileError, Record, records
    from ostinato.native import compile

# What needs PyTorch is imported when it is asked for.
_LAZY = {
    "bench": "ostinato.benchmark",
    "compile": "ostinato.native",
    "compile_fx": "ostinato.backend",
    "CompileError": "ostinato.diagnostics",
    "Record": "ostinato.diagnostics",
    "records": "ostinato.diagnostics",
}

__all__ = [
    "CompileError",
    "Error",
    "Record",
    "__version__",
    "bench",
    "compile",
    "compile_fx",
    "records",
]


def __getattr__(name):
    if name in _LAZY:
        try:
            return getattr(import_module(_LAZY[name]), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError(
                f"ostinato.{name} needs PyTorch. Install PyTorch 2.10 or later."
            ) from error
    raise AttributeError(f"module 'ostinato' has no attribute '{name}'")


def __dir__():
    return sorted([*globals(), *_LAZY])
