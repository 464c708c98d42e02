"""Runs engine graphs with PyTorch's operators between them."""

from dataclasses import dataclass, field

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from ostinato import _engine
from ostinato.sizes import bare_symbol, dim_of


@dataclass
class Number:
    """A result that is a size."""

    dim: _engine.Dim | int


@dataclass
class RunStep:
    """An engine graph: nodes, and symbols by name, in; nodes out."""

    runner: _engine.Runner
    arguments: list[Node | str]
    results: list[Node]


@dataclass
class TorchStep:
    """One call in PyTorch."""

    node: Node


@dataclass
class _Scope:
    """The values of one call."""

    values: dict[Node, object]
    symbols: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, node: Node):
        if node in self.values:
            return self.values[node]
        value = node.meta["val"]
        return _number(value, self.symbols)

    def __setitem__(self, node: Node, value):
        self.values[node] = value
        self._learn(node.meta.get("val"), value)

    def _learn(self, seen, value):
        if name := bare_symbol(seen):
            self.symbols[name] = int(value)
        elif isinstance(seen, torch.Tensor) and isinstance(value, torch.Tensor):
            for expected, size in zip(seen.shape, value.shape, strict=True):
                self._learn(expected, size)


class _CaptureFailedError(Exception):
    """One of the graphs cannot be captured: PyTorch runs the call, of which nothing shows yet."""


def _give_up(arguments):
    raise _CaptureFailedError


def _number(size, symbols: dict[str, int]):
    dim = dim_of(size)
    return dim.evaluate(symbols) if isinstance(dim, _engine.Dim) else dim


class Pipeline:
    """Calls steps in their order; called with a list of arguments."""

    _boxed_call = True

    def __init__(self, gm: GraphModule, placeholders, steps, results, writes):
        self._gm = gm
        self._placeholders = placeholders
        self._steps = steps
        self._results = results
        self._writes = writes
        self._last_uses = self._find_last_uses()
        for runner in self.runners:
            runner.fall_back(_give_up)

    @property
    def runners(self) -> list[_engine.Runner]:
        """The engine graphs."""
        return [step.runner for step in self._steps if isinstance(step, RunStep)]

    def _find_last_uses(self) -> list[list[Node]]:
        kept = {node for node in self._results if isinstance(node, Node)}
        kept |= {node for write in self._writes for node in write}
        last_uses = []
        for step in reversed(self._steps):
            nodes = step.arguments if isinstance(step, RunStep) else step.node.all_input_nodes
            ended = [node for node in nodes if isinstance(node, Node) and node not in kept]
            kept.update(ended)
            last_uses.append(ended)
        return last_uses[::-1]

    def __call__(self, arguments: list) -> list:
        """The results for a list of arguments."""
        try:
            return self._run(arguments)
        except _CaptureFailedError:
            return list(self._gm.forward(*arguments))

    def _run(self, arguments: list) -> list:
        scope = _Scope({})
        for node, value in zip(self._placeholders, arguments, strict=True):
            scope[node] = value
        for step, ended in zip(self._steps, self._last_uses, strict=True):
            if isinstance(step, RunStep):
                given = [
                    scope.symbols[item] if isinstance(item, str) else scope[item]
                    for item in step.arguments
                ]
                for node, value in zip(step.results, step.runner(given), strict=True):
                    scope[node] = value
            else:
                scope[step.node] = self._in_torch(step.node, scope)
            for node in ended:
                scope.values.pop(node, None)
        results = [self._result(item, scope) for item in self._results]
        for target, value in self._writes:
            scope[target].copy_(scope[value])
        return results

    def _in_torch(self, node: Node, scope: _Scope):
        def value_of(item: Node):
            return getattr(self._gm, item.target) if item.op == "get_attr" else scope[item]

        return node.target(*map_arg(node.args, value_of), **map_arg(node.kwargs, value_of))

    def _result(self, item, scope: _Scope):
        if isinstance(item, Number):
            return (
                item.dim.evaluate(scope.symbols) if isinstance(item.dim, _engine.Dim) else item.dim
            )
        return scope[item] if isinstance(item, Node) else item
