"""What `TORCH_COMPILE_DEBUG=1` writes: every graph after every rewrite, a log, runnable code.

The files lie in PyTorch's folder of the run, `torch_compile_debug/run_…/ostinato`.
"""

import itertools
import logging
import os
import pprint
from pathlib import Path

import torch
from torch._dynamo.utils import get_debug_dir
from torch.fx import GraphModule

from ostinato import whole
from ostinato.ranks import world_and_rank
from ostinato.sizes import hint_of

log = logging.getLogger("ostinato")

_numbers = {"model": itertools.count(), "compile": itertools.count()}
_logging_to: set[Path] = set()


def _root() -> Path:
    folder = Path(get_debug_dir())
    if job := world_and_rank():
        folder = folder.with_name(f"{folder.name}-rank_{job[1]}")
    return folder / "ostinato"


def _log_to(folder: Path):
    if folder in _logging_to:
        return
    _logging_to.add(folder)
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "debug.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)


class NoTrace:
    """Writes nothing."""

    def dynamo(self, gm: GraphModule):
        """Dynamo's graph."""

    def forward(self, name: str, gm: GraphModule):
        """The graph of ATen operators after a rewrite; before any where the name is empty."""

    def engine(self, graphs, gm: GraphModule, options):
        """The engine's graphs, and code that runs the last one of ATen operators."""


NO_TRACE = NoTrace()


class Trace(NoTrace):
    """Writes what becomes of one graph into a folder of its own."""

    def __init__(self, kind: str):
        root = _root()
        _log_to(root)
        self._folder = root / f"{kind}__{next(_numbers[kind])}"
        self._count = itertools.count()

    def _write(self, name: str, text: str):
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def dynamo(self, gm: GraphModule):
        """As the base class says."""
        self._write("dynamo_out_graph.txt", _readable(gm))

    def forward(self, name: str, gm: GraphModule):
        """As the base class says."""
        after = f"_after_{name}" if name else ""
        number = next(self._count)
        self._write(f"forward/{number:03}_aot_forward_graph{after}.txt", _readable(gm))

    def engine(self, graphs, gm: GraphModule, options):
        """As the base class says."""
        for index, graph in enumerate(graphs):
            self._write(f"forward/engine_graph_{index}.txt", str(graph))
        tensors = dict(gm.named_buffers()) | dict(gm.named_parameters())
        for node in gm.graph.find_nodes(op="get_attr"):
            tensors[node.target] = getattr(gm, node.target)
        if tensors:
            torch.save(tensors, self._folder / "forward/constants.pt")
        self._write("forward/output_code.py", _code(gm, bool(tensors), options))


def trace(kind: str) -> NoTrace:
    """What to tell of a graph: `model` for torch.compile's, `compile` for compile_fx's."""
    enabled = os.environ.get("TORCH_COMPILE_DEBUG", "0") == "1"
    return Trace(kind) if enabled else NO_TRACE


def _readable(gm: GraphModule) -> str:
    return gm.print_readable(print_output=False, include_stride=True, include_device=True) + "\n"


def random_tensor(sizes, strides, dtype: torch.dtype) -> torch.Tensor:
    """Noise that lies so; of integers zeros and ones, which any index may be."""
    extent = 1 + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True) if n > 0)
    if dtype.is_floating_point or dtype.is_complex:
        memory = torch.randn(extent, dtype=dtype)
    else:
        memory = torch.randint(0, 2, (extent,), dtype=dtype)
    return memory.as_strided(sizes, strides)


def _example(value) -> str:
    if not isinstance(value, torch.Tensor):
        return repr(hint_of(value))
    sizes, strides = ([hint_of(item) for item in items] for items in (value.shape, value.stride()))
    return f"random_tensor({sizes}, {strides}, {value.dtype})"


def _code(gm: GraphModule, has_constants: bool, options) -> str:
    body = gm.graph.python_code("self").src.replace("\n", "\n    ").strip()
    kept = sorted(
        {
            node.target._schema.name.split("::")[1]
            for node in gm.graph.nodes
            if getattr(node.target, "namespace", "") == whole.NAMESPACE
        }
    )
    placeholders = gm.graph.find_nodes(op="placeholder")
    inputs = "".join(f"    {_example(node.meta['val'])},\n" for node in placeholders)
    constants = ""
    if has_constants:
        constants = (
            "\n    def __init__(self):\n        super().__init__()\n"
            "        for name, tensor in torch.load(\n"
            '            Path(__file__).with_name("constants.pt"), weights_only=True\n'
            "        ).items():\n            self.register_buffer(name, tensor)\n"
        )
    given = {name: getattr(options, name) for name in ("force_eager", "threads")}
    return f'''"""Runs this graph in PyTorch and on the engine, and compares."""

import operator
from math import inf, nan
from pathlib import Path

import torch
from torch import device
from torch.fx.experimental.proxy_tensor import make_fx

import ostinato
from ostinato.debug import random_tensor
from ostinato.whole import twin_named

NoneType = type(None)
for name in {kept!r}:
    twin_named(name)


class Forward(torch.nn.Module):
    """The graph."""
{constants}
    {body}


torch.manual_seed(0)
inputs = [
{inputs}]


def copies():
    """The inputs, which the graph may write to."""
    return [x.clone() if isinstance(x, torch.Tensor) else x for x in inputs]


if __name__ == "__main__":
    with torch.no_grad():
        module = Forward()
        want = module(*copies())
        graph = make_fx(module)(*copies())
        got = ostinato.compile_fx(graph, copies(), {pprint.pformat(given)})(*copies())
    torch.testing.assert_close(list(got), list(want), rtol=1e-3, atol=1e-3)
    print("the same")
'''
