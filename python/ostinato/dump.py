"""Saves tensors: all of a graph, by the option `dump_tensor_data`, or one, by `save_tensor`."""

import collections
import itertools
from pathlib import Path

import torch
from torch.fx import GraphModule, Interpreter, Node

from ostinato.options import Options
from ostinato.ranks import world_and_rank
from ostinato.whole import NAMESPACE

_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_library.define("save_tensor(Tensor x, str path) -> ()")


def _save(x: torch.Tensor, path: str):
    torch.save(x.detach().clone(), path)


_library.impl("save_tensor", _save, "CompositeExplicitAutograd")
torch.library.register_fake(f"{NAMESPACE}::save_tensor", lambda x, path: None, lib=_library)
SAVE = torch.ops.ostinato.save_tensor.default
torch.fx.node.has_side_effect(SAVE)


def save_tensor(x: torch.Tensor, path) -> None:
    """Writes a tensor to a file, at each call; inside compiled functions too.

    What computes it there is a graph of its own, and the rest another.
    """
    torch.ops.ostinato.save_tensor(x, str(path))


_counts = collections.defaultdict(itertools.count)


class _Folder:
    """`<dir>/worldsize<W>_global_rank<R>/<node>_device_<d>_<count>.pt`."""

    def __init__(self, options: Options):
        world, rank = world_and_rank() or (1, 0)
        self._path = Path(options.data_dump_dir) / f"worldsize{world}_global_rank{rank}"

    def save(self, name: str, value):
        """Saves a node's tensor, or tensors."""
        if isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.save(f"{name}_{index}", item)
        elif isinstance(value, torch.Tensor):
            self._path.mkdir(parents=True, exist_ok=True)
            stem = f"{name}_device_{value.device}"
            count = next(_counts[self._path / stem])
            _save(value, str(self._path / f"{stem}_{count}.pt"))


class _Original(Interpreter):
    """Runs a graph in PyTorch, node by node."""

    def __init__(self, gm: GraphModule, folder: _Folder):
        super().__init__(gm)
        self._folder = folder

    def run_node(self, n: Node):
        """Runs one node, and saves what it gives."""
        value = super().run_node(n)
        if n.op in ("placeholder", "call_function"):
            self._folder.save(n.name, value)
        return value


def dump_original(gm: GraphModule, options: Options):
    """The graph as a callable that PyTorch runs, saving every value."""
    interpreter = _Original(gm, _Folder(options))

    def call(arguments: list):
        return list(interpreter.run(*arguments))

    call._boxed_call = True
    return call


def give_all_values(gm: GraphModule) -> list[str]:
    """Makes every tensor that the graph computes a result, after its own; returns their names."""
    output = gm.graph.output_node()
    nodes = [
        node
        for node in gm.graph.nodes
        if node.op == "call_function"
        and isinstance(node.meta.get("val"), torch.Tensor)
        and node.target is not torch.ops.aten.copy_.default
    ]
    output.args = ([*output.args[0], *nodes],)
    gm.recompile()
    return [node.name for node in nodes]


def dump_optimised(compiled, placeholders: list[str], names: list[str], options: Options):
    """The compiled callable, whose last results are the values of those names, saving them."""
    folder = _Folder(options)

    def call(arguments: list):
        for name, value in zip(placeholders, arguments, strict=True):
            folder.save(name, value)
        results = compiled(arguments)
        count = len(results) - len(names)
        for name, value in zip(names, results[count:], strict=True):
            folder.save(name, value)
        return results[:count]

    call._boxed_call = True
    return call
