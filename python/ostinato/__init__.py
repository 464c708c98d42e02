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
    "Finding": "ostinato.localise",
    "Record": "ostinato.diagnostics",
    "bisect": "ostinato.localise",
    "graph_pool_handle": "ostinato.options",
    "records": "ostinato.diagnostics",
    "register_replacement": "ostinato.replacement",
    "save_tensor": "ostinato.dump",
    "scope": "ostinato.scope",
}

__all__ = [
    "CompileError",
    "Error",
    "Finding",
    "Record",
    "__version__",
    "bench",
    "bisect",
    "compile",
    "compile_fx",
    "graph_pool_handle",
    "records",
    "register_replacement",
    "save_tensor",
    "scope",
]


def __getattr__(name):
    if name in _LAZY:
        try:
            module = import_module(_LAZY[name])
            return module if name == "scope" else getattr(module, name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError(
                f"ostinato.{name} needs PyTorch. Install PyTorch 2.10 or later."
            ) from error
    raise AttributeError(f"module 'ostinato' has no attribute '{name}'")


def __dir__():
    return sorted([*globals(), *_LAZY])
