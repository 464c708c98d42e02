"""From imported levels to something callable: what goes between them, out of them, and back."""

import math
import operator

import torch
from torch.fx import Node

from ostinato.pipeline import Number, Pipeline, RunStep, TorchStep
from ostinato.plan import RunnerPlan
from ostinato.sizes import (
    UnknownSizeError,
    bare_symbol,
    dim_of,
    hint_of,
    memory_order,
    shape_of,
    symbols_of,
)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _row_major(sizes: list[int]) -> list[int]:
    return [math.prod(max(size, 1) for size in sizes[dim + 1 :]) for dim in range(len(sizes))]


def _is_dense(tensor: torch.Tensor) -> bool:
    sizes, strides = list(map(hint_of, tensor.shape)), map(hint_of, tensor.stride())
    extent = 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    return math.prod(sizes) in (0, extent)


class _Assembly:
    """The work on one imported graph."""

    def __init__(self, imported):
        self.imported = imported
        self.levels = imported.levels
        output = imported.gm.graph.output_node()
        self.results = list(output.args[0])
        self.outputs: list[dict[tuple[Node, bool], int]] = [{} for _ in self.levels]
        self.wanted: list[list[Node]] = [[] for _ in self.levels]

    def run(self):
        """The callable."""
        self._find_wanted()
        if self._is_one_runner():
            return self._direct()
        return self._pipeline()

    def _find_wanted(self):
        """Which values leave their level."""
        wanted = [node for node in self.results if isinstance(node, Node)]
        wanted += [value for _, value in self.imported.writes]
        for node in self.imported.outside:
            wanted += node.all_input_nodes
        for level in self.levels:
            wanted += level.arguments
        for node in wanted:
            if node not in self.imported.in_engine:
                continue
            level = self.imported.level[node]
            if node not in self.wanted[level]:
                self.wanted[level].append(node)

    def _is_one_runner(self) -> bool:
        if self.imported.outside or len(self.levels) != 1:
            return False
        for node in self.results:
            if isinstance(node, Node) and node not in self.imported.in_engine:
                value = node.meta["val"]
                if isinstance(value, torch.Tensor) and node.op != "placeholder":
                    return False
                try:
                    dim_of(value)
                except UnknownSizeError:
                    return False
        return all(self._is_plain_write(*write) for write in self.imported.writes) and all(
            isinstance(node, (Node, int, type(None))) and not isinstance(node, bool)
            for node in self.results
        )

    def _is_plain_write(self, target: Node, value: Node) -> bool:
        to, of = target.meta["val"], value.meta["val"]
        return value in self.imported.in_engine and to.dtype == of.dtype and to.shape == of.shape

    # One runner over the graph's own arguments.

    def _direct(self):
        placeholders = self.imported.placeholders
        outputs = self._add_outputs(0, self.results)
        writes = [
            (self._output(0, value, in_memory_order=False), placeholders.index(target))
            for target, value in self.imported.writes
        ]
        plan = self._plan(0, placeholders)
        for node in outputs:
            self._give(plan, 0, node, placeholders)
        for output, argument in writes:
            plan.add("write_back", output, argument)
        self.imported.plan = plan
        runner = plan.runner(self.imported.options.runner_options())
        forward = self.imported.gm.forward
        runner.fall_back(lambda arguments: forward(*arguments))
        return runner

    # Several runners, with PyTorch between them.

    def _pipeline(self):
        imported = self.imported
        steps = []
        pending = dict(imported.outside)
        for index in range(-1, len(self.levels)):
            if index >= 0 and self.wanted[index]:
                steps.append(self._run_step(index))
            ready = [node for node in pending if pending[node] == index]
            steps += [TorchStep(node) for node in ready]
        return Pipeline(
            imported.gm,
            imported.placeholders,
            steps,
            [self._result(node) for node in self.results],
            imported.writes,
        )

    def _result(self, node):
        if isinstance(node, Node) and not isinstance(node.meta.get("val"), torch.Tensor):
            try:
                return Number(dim_of(node.meta["val"]))
            except UnknownSizeError:
                return node
        return node

    def _run_step(self, index: int) -> RunStep:
        level = self.levels[index]
        wanted = self._add_outputs(index, self.wanted[index])
        arguments = list(level.arguments)
        known = {
            name
            for node in arguments
            if node not in self.imported.static
            for size in node.meta["val"].shape
            if (name := bare_symbol(size))
        }
        arguments += sorted(self._symbols(index) - known)
        plan = self._plan(index, arguments)
        for node in wanted:
            self._give(plan, index, node, arguments)
        runner = plan.runner(self.imported.options.runner_options())
        return RunStep(runner, arguments, wanted)

    def _symbols(self, index: int) -> set[str]:
        """Those of all values that a level computes or takes."""
        found = set()
        for node in self.levels[index].values:
            nodes = [node, *node.all_input_nodes]
            for value in (n.meta.get("val") for n in nodes):
                sizes = [value] if isinstance(value, torch.SymInt) else []
                if isinstance(value, torch.Tensor):
                    sizes = [*value.shape, *value.stride(), value.storage_offset()]
                found.update(name for size in sizes for name in symbols_of(size))
        return found

    # Both.

    def _plan(self, index: int, arguments: list) -> RunnerPlan:
        level = self.levels[index]
        plan = RunnerPlan(level.graph)
        for argument in arguments:
            if isinstance(argument, str):
                plan.add("take_symbol", argument)
            elif argument in level.arguments:
                value, order = level.arguments[argument]
                if order is None:
                    plan.add("take_number", value.name)
                else:
                    static = argument in self.imported.static
                    plan.add("take_constant" if static else "take_input", value.name, order)
            elif name := bare_symbol(argument.meta["val"]):
                plan.add("take_symbol", name)
            else:
                plan.add("take_unused")
        return plan

    def _add_outputs(self, index: int, nodes: list) -> list:
        """Makes outputs of what the nodes' memory belongs to."""
        for node in nodes:
            if isinstance(node, Node) and node in self.imported.in_engine:
                base = self._base(index, node)
                if base in self.imported.in_engine and self.imported.level[base] == index:
                    self._output(index, base, in_memory_order=True)
        return nodes

    def _output(self, index: int, node: Node, in_memory_order: bool) -> int:
        """The index of the graph's output for a value, dense in the order given."""
        order = memory_order(node.meta["val"]) if in_memory_order else []
        key = (node, bool(order))
        outputs = self.outputs[index]
        if key not in outputs:
            level = self.levels[index]
            value = level.values[node]
            if order:
                value = level.graph.call("aten.permute", {"self": value, "dims": order}, "")[0]
            outputs[key] = level.graph.add_output(value)
        return outputs[key]

    def _base(self, index: int, node: Node) -> Node:
        """The value or argument of the level whose memory the node is a view of, or itself."""
        level = self.levels[index]
        storage = _storage(node.meta["val"])
        base = node
        while True:
            sources = base.all_input_nodes
            if base.target is operator.getitem:
                sources = base.args[0].all_input_nodes
            above = [
                source
                for source in sources
                if isinstance(source.meta.get("val"), torch.Tensor)
                and _storage(source.meta["val"]) == storage
                and source in level.values
                and source.op != "get_attr"
            ]
            if not above or base in level.arguments:
                break
            base = above[0]
        return base if _is_dense(base.meta["val"]) or base in level.arguments else node

    def _give(self, plan: RunnerPlan, index: int, node, arguments: list):
        """Describes the next result of a runner."""
        if node is None:
            return plan.add("give_none")
        if not isinstance(node, Node):
            return plan.add("give_dim", node)
        tensor = node.meta["val"]
        if not isinstance(tensor, torch.Tensor):
            return plan.add("give_dim", dim_of(tensor))
        if node.op == "placeholder":
            return plan.add("give_argument", arguments.index(node))
        base = self._base(index, node)
        sizes, strides = shape_of(tensor.shape), shape_of(tensor.stride())
        offset = dim_of(tensor.storage_offset() - base.meta["val"].storage_offset())
        if base in self.levels[index].arguments:
            argument = arguments.index(base)
            return plan.add("give_view_of_argument", argument, sizes, strides, offset)
        output = self._output(index, base, in_memory_order=True)
        hints = [hint_of(size) for size in tensor.shape]
        plain = [hint_of(stride) for stride in tensor.stride()] == _row_major(hints)
        if base is node and (plain or not _is_dense(tensor)):
            return plan.add("give_output", output)
        return plan.add("give_view_of_output", output, sizes, strides, offset)


def assemble(imported):
    """The callable over the arguments of an imported graph: a Runner or a Pipeline."""
    return _Assembly(imported).run()
