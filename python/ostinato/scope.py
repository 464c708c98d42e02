"""Scopes that say how work in them runs, inside and around compiled functions."""

from __future__ import annotations

import torch
from torch.fx import GraphModule

from ostinato import _engine
from ostinato.diagnostics import Error
from ostinato.whole import NAMESPACE

_MAXIMUM = _engine.default_threads()
_KEY = "ostinato_threads"  # in a node's `custom` metadata
_SPLIT = "a graph break lies within limit_core_num: move it out of the scope"

_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_library.define("limit_enter(int cores, int vector_cores) -> ()")
_library.define("limit_exit() -> ()")


def _enter(cores: int, vector_cores: int):
    _engine.push_thread_limit(_threads(cores, vector_cores))


def _exit():
    _engine.pop_thread_limit()


_library.impl("limit_enter", _enter, "CompositeExplicitAutograd")
_library.impl("limit_exit", _exit, "CompositeExplicitAutograd")
for _name in ("limit_enter", "limit_exit"):  # tracing enters no scope
    torch.library.register_fake(f"{NAMESPACE}::{_name}", lambda *_: None, lib=_library)
_ENTER = torch.ops.ostinato.limit_enter.default
_EXIT = torch.ops.ostinato.limit_exit.default
torch.fx.node.has_side_effect(_ENTER)
torch.fx.node.has_side_effect(_EXIT)


def _threads(cores: int, vector_cores: int) -> int:
    return min(cores, vector_cores) if vector_cores > 0 else cores


class limit_core_num:  # noqa: N801, the name that the specification gives
    """Caps the cores that work in the scope may use; scopes nest, the tightest cap holds.

    On the CPU a core does the work of both kinds: the cap is the smaller number, and
    `op_vectorcore_num` 0 sets none. Around a call it caps the threads of this thread's replays;
    inside a compiled function those of the operators in the scope. What runs in PyTorch is not
    capped. Raises TypeError, and ValueError outside 1 … the processors (0 … for vector cores).
    """

    def __init__(self, op_aicore_num: int, op_vectorcore_num: int):
        for number in (op_aicore_num, op_vectorcore_num):
            if type(number) is not int:
                raise TypeError(f"expected numbers of cores as ints, got {number!r}")
        if not 1 <= op_aicore_num <= _MAXIMUM:
            raise ValueError(f"expected op_aicore_num in [1, {_MAXIMUM}], got {op_aicore_num}")
        if not 0 <= op_vectorcore_num <= _MAXIMUM:
            raise ValueError(
                f"expected op_vectorcore_num in [0, {_MAXIMUM}], got {op_vectorcore_num}"
            )
        self.cores = op_aicore_num
        self.vector_cores = op_vectorcore_num

    def __enter__(self):
        """Sets the cap."""
        torch.ops.ostinato.limit_enter(self.cores, self.vector_cores)
        return self

    def __exit__(self, *_):
        """Restores what was before."""
        torch.ops.ostinato.limit_exit()


def mark_scopes(gm: GraphModule):
    """Notes each call's cap in Dynamo's graph, and takes the scopes out of it."""
    limits: list[int] = []
    for node in gm.graph.nodes:
        if node.target in (_ENTER, torch.ops.ostinato.limit_enter):
            limits.append(min([_threads(*node.args), *limits]))
            gm.graph.erase_node(node)
        elif node.target in (_EXIT, torch.ops.ostinato.limit_exit):
            if not limits:
                raise Error(_SPLIT)
            limits.pop()
            gm.graph.erase_node(node)
        elif limits and node.op.startswith("call_"):
            node.meta["custom"] = {**node.meta.get("custom", {}), _KEY: limits[-1]}
    if limits:
        raise Error(_SPLIT)


def threads_of(node) -> int:
    """The cap of an ATen call; 0 for none."""
    return node.meta.get("custom", {}).get(_KEY, 0)
