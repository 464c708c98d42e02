"""Runs cases of one operator as one FX graph through the torch.compile backend's import."""

import operator
import random
from dataclasses import dataclass

import torch

from .harness import (
    Case,
    Operand,
    View,
    aten,
    cases_of,
    difference,
    expected_of,
    flat,
    is_strided,
    value_of,
)

MOST = 250  # cases of one operator: a seeded choice of those that it has


def target_of(name: str):
    """The overload by the engine's name."""
    if name.startswith("aten."):
        return aten(name)
    import transformers.integrations.moe  # noqa: F401  (registers it)

    namespace, operator_name = name.split(".")
    return getattr(getattr(torch.ops, namespace), operator_name).default


@dataclass
class Call:
    """A case, what PyTorch returns, and whether views are arguments or made by the graph."""

    case: Case
    expected: list[torch.Tensor]
    strided_arguments: bool


def chosen_cases(name: str) -> list[Case]:
    """The cases that run here."""
    made = cases_of(name)
    return random.Random(name).sample(made, MOST) if len(made) > MOST else made


def calls_of(name: str) -> list[Call]:
    """The operator's cases; those with views once with either kind of strides."""
    calls = []
    for case in chosen_cases(name):
        expected = expected_of(name, case)
        calls.append(Call(case, expected, strided_arguments=False))
        if is_strided(case):
            calls.append(Call(case, expected, strided_arguments=True))
    return calls


class GraphOfCalls:
    """An FX graph that makes all calls, as AOTAutograd gives one to a backend."""

    def __init__(self, name: str, calls: list[Call]):
        self.graph = torch.fx.Graph()
        self.arguments: list[torch.Tensor] = []
        self.results: list[torch.fx.Node] = []
        self.target = target_of(name)
        returns = self.target._schema.returns
        self.several = len(returns) > 1 or "List" in str(returns[0].type)
        bases = [
            {
                key: [self.placeholder(item, call) for item in flat([operand])]
                for key, operand in call.case.operands.items()
            }
            for call in calls
        ]
        for call, placeholders in zip(calls, bases, strict=True):
            self.call(call, placeholders)
        self.graph.output(tuple(self.results))

    def module(self) -> torch.fx.GraphModule:
        """As a backend gets it."""
        return torch.fx.GraphModule(torch.nn.Module(), self.graph)

    def node(self, value, target, arguments=(), attributes=None) -> torch.fx.Node:
        """A call whose value is known."""
        node = self.graph.call_function(target, arguments, attributes)
        node.meta["val"] = value
        return node

    def placeholder(self, operand: Operand, call: Call) -> torch.fx.Node | None:
        """The argument that an operand is or is made of."""
        if operand is None:
            return None
        made_here = isinstance(operand, View) and not call.strided_arguments
        tensor = operand.base if made_here else value_of(operand)
        node = self.graph.placeholder(f"argument_{len(self.arguments)}")
        node.meta["val"] = tensor
        self.arguments.append(tensor)
        return node

    def operand(self, operand: Operand, node, call: Call):
        """The operand of a call, made by views where it is one."""
        if not isinstance(operand, View) or call.strided_arguments:
            return node
        for op, attributes in operand.steps:
            value = aten(op)(node.meta["val"], **attributes)
            node = self.node(value, aten(op), (node,), attributes)
        return node

    def call(self, call: Call, placeholders: dict[str, list]):
        """Adds a call and its results."""
        operands = {}
        for key, operand in call.case.operands.items():
            nodes = [
                self.operand(item, node, call)
                for item, node in zip(flat([operand]), placeholders[key], strict=True)
            ]
            operands[key] = nodes if isinstance(operand, list) else nodes[0]
        value = call.expected if self.several else call.expected[0]
        node = self.node(value, self.target, (), {**operands, **call.case.attributes})
        if not self.several:
            self.results.append(node)
            return
        for index, tensor in enumerate(call.expected):
            self.results.append(self.node(tensor, operator.getitem, (node, index)))


def problems_of(calls: list[Call], results: list[torch.Tensor]) -> list[str]:
    """What differs from PyTorch: values, dtypes, sizes, strides."""
    problems = []
    left = iter(results)
    for call in calls:
        for index, want in enumerate(call.expected):
            got = next(left)
            text = difference(call.case, got, want)
            if index == 1 and not call.case.ordered:
                text = ""
            # What has gaps in PyTorch, as its operand has, has none here.
            if (
                not text
                and torch.ops.aten.is_non_overlapping_and_dense(want)
                and got.stride() != want.stride()
            ):
                text = f"expected strides {want.stride()}, got {got.stride()}"
            if text:
                operands = [
                    f"{tensor.dtype}{tuple(tensor.shape)}{tensor.stride()}"
                    for tensor in map(value_of, flat(call.case.operands.values()))
                    if tensor is not None
                ]
                problems.append(f"{operands} {call.case.attributes}, result {index}: {text}")
    assert next(left, None) is None
    return problems
