"""What a runner is made of, as plain data that can be stored."""

from typing import Any

import torch

from ostinato._engine import Dim, Error, Graph, Runner
from ostinato.guards import UnstorableError

# Which calls have a name as their first argument; all other texts are sizes.
_NAMED = {"take_input", "take_constant", "take_number", "take_symbol"}
_CALLS = _NAMED | {
    "take_unused",
    "give_output",
    "give_view_of_output",
    "give_view_of_argument",
    "give_argument",
    "give_dim",
    "give_none",
    "write_back",
}


def _encoded(argument):
    if isinstance(argument, Dim):
        return repr(argument)
    return [_encoded(item) for item in argument] if isinstance(argument, list) else argument


def _decoded(argument):
    if isinstance(argument, str):
        return Dim.parse(argument)
    return [_decoded(item) for item in argument] if isinstance(argument, list) else argument


class RunnerPlan:
    """A graph, and the calls that describe its arguments and results to a Runner."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.calls: list[tuple] = []  # a method of Runner, and its arguments

    def add(self, name: str, *arguments):
        """Adds a call of that method."""
        self.calls.append((name, *arguments))

    def runner(self, options: dict[str, Any]) -> Runner:
        """A runner as described; the graph is copied."""
        keeps = not torch.compiler.config.force_disable_caches  # packed weights, on disk
        runner = Runner(self.graph, options | {"packed_cache": keeps})
        for name, *arguments in self.calls:
            getattr(runner, name)(*arguments)
        return runner

    def constants(self) -> list[int]:
        """Which arguments stay the same over many calls."""
        takes = [name for name, *_ in self.calls if name.startswith("take_")]
        return [i for i, name in enumerate(takes) if name == "take_constant"]

    def to_data(self) -> tuple[dict[str, Any], list[bytes]]:
        """As JSON can say it, and the elements of constants.

        Raises UnstorableError where the device has them.
        """
        try:
            stored = self.graph.stored
        except Error as error:
            raise UnstorableError(error.message) from error
        calls = [
            [name, *arguments] if name in _NAMED else [name, *map(_encoded, arguments)]
            for name, *arguments in self.calls
        ]
        constants = [item[:3] for item in stored]
        document = {"graph": str(self.graph), "calls": calls, "constants": constants}
        return document, [item[3] for item in stored]

    @classmethod
    def from_data(cls, document: dict[str, Any], elements: list[bytes]) -> "RunnerPlan":
        """What `to_data` gave. Raises Error for a broken graph, ValueError for a wrong call."""
        stored = [(*item, data) for item, data in zip(document["constants"], elements, strict=True)]
        plan = cls(Graph.parse(document["graph"], stored))
        for name, *arguments in document["calls"]:
            if name not in _CALLS:
                raise ValueError(f"there is no call '{name}'")
            if name in _NAMED:
                plan.add(name, *arguments)
            else:
                plan.add(name, *map(_decoded, arguments))
        return plan
