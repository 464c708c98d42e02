"""From an FX graph of ATen operators to runners of the engine, and PyTorch where it must be.

Every call is offered to the engine. What it takes becomes a node of an engine graph; what it does
not take runs in PyTorch between two such graphs. A node's level counts the engine graphs that must
have run before it, so that there are as few graphs as the order of the calls allows.
"""

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import GraphModule, Node

from ostinato import _engine
from ostinato.assembly import assemble
from ostinato.diagnostics import report, source_of
from ostinato.dump import SAVE
from ostinato.options import Options
from ostinato.plan import RunnerPlan
from ostinato.scope import threads_of
from ostinato.sizes import (
    UnknownSizeError,
    dim_of,
    fills_memory,
    memory_order,
    shape_of,
    shares_memory,
)
from ostinato.whole import NAMESPACE

_ALWAYS_IN_TORCH = {"_c10d_functional"}  # collectives: theirs is the process group

# Of a tensor that a graph holds, and that traces on disk have to hold too. Larger ones on a GPU
# stay there, and their traces are not stored.
_MOST_STORED_BYTES = 1 << 20

# Calls that read sizes, not data.
SIZE_QUERIES = {
    torch.ops.aten.sym_size,
    torch.ops.aten.sym_stride,
    torch.ops.aten.sym_numel,
    torch.ops.aten.sym_storage_offset,
}


class _RefusedError(Exception):
    """Why the engine does not take a call."""


def dtype_name(dtype: torch.dtype) -> str:
    """As the engine says it: `float32`."""
    return str(dtype).removeprefix("torch.")


def operator_name(target) -> str:
    """As the op table has it: `aten.add.Tensor`; `aten.mm` for `aten.mm.default`."""
    if not isinstance(target, torch._ops.OpOverload):
        return getattr(target, "__name__", str(target))
    namespace, name = target._schema.name.split("::")
    namespace = "aten" if namespace == NAMESPACE else namespace
    overload = target._schema.overload_name
    return f"{namespace}.{name}" + (f".{overload}" if overload else "")


def tensors_in(value) -> list[torch.Tensor]:
    """The tensors of a node's value, which may be a list of them."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return [item for item in values if isinstance(item, torch.Tensor)]


def is_number(value) -> bool:
    """Whether a node's value is a number, symbolic or not, rather than tensors."""
    return isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool))


@dataclass
class Level:
    """One engine graph, and what goes into it."""

    graph: _engine.Graph
    values: dict[Node, Any] = field(default_factory=dict)  # lists, for calls with several results
    # The value, and the order of its dims in memory; None for a number.
    arguments: dict[Node, tuple[Any, list[int] | None]] = field(default_factory=dict)


class Importer:
    """Imports one graph. `static` are the placeholders, by index, that hold parameters.

    The device of `options` must have been chosen.
    """

    def __init__(self, gm: GraphModule, static: set[int], options: Options):
        self.gm = gm
        self.options = options
        self.device = options.device
        self.placeholders = [node for node in gm.graph.nodes if node.op == "placeholder"]
        self.writes: list[tuple[Node, Node]] = []  # (placeholder, value)
        self.static = {self.placeholders[i] for i in static if i < len(self.placeholders)}
        self.levels: list[Level] = []
        self.level: dict[Node, int] = {}  # engine graphs that must have run for the value
        self.in_engine: set[Node] = set()
        self.numbers: dict[Node, Node] = {}  # float32 values of float arguments
        self.outside: dict[Node, int] = {}  # what PyTorch computes, and after which level
        self.reported: set[str] = set()  # an operator is one record in a graph
        self.names: dict[Any, list[str]] = {}
        self.plan: RunnerPlan | None = None  # where one runner does it all

    def run(self):
        """The callable: a Runner where one does it all, else a Pipeline."""
        self._take_writes()
        self._take_numbers()
        for node in self.gm.graph.nodes:
            if node.op == "call_function" and not self._is_write(node):
                self._call(node)
        return assemble(self)

    def _take_writes(self):
        """Finds the writes to arguments, all at the end; what is read of them is the argument."""
        for node in self.gm.graph.nodes:
            if self._is_write(node):
                target, value = node.args[:2]
                self.writes.append((target, value))
                node.replace_all_uses_with(target)
        self.static -= {target for target, _ in self.writes}

    def _take_numbers(self):
        """Finds the floats among the arguments, which PyTorch gives as float64 of rank 0."""
        for node in self.placeholders:
            value = node.meta["val"]
            if not isinstance(value, torch.Tensor) or value.dim() or value.dtype != torch.float64:
                continue
            conversion = torch.ops.prims.convert_element_type.default
            for user in list(node.users):
                if user.target is conversion and user.args[1] == torch.float64:
                    user.replace_all_uses_with(node)
                    self.gm.graph.erase_node(user)
            self.numbers |= {
                user: node
                for user in node.users
                if user.target is conversion and user.args[1] == torch.float32
            }

    @staticmethod
    def _is_write(node: Node) -> bool:
        return node.target is torch.ops.aten.copy_.default and node.args[0].op == "placeholder"

    def _call(self, node: Node):
        value = node.meta.get("val")
        if is_number(value):
            if not self._follows_from_sizes(node):
                self._fall_back(node, "its result depends on data")
        elif node.target is operator.getitem:
            self._pick(node)
        elif node in self.numbers:
            self._number(node)
        else:
            try:
                self._engine(node)
            except _RefusedError as refused:
                self._fall_back(node, str(refused))

    def _pick(self, node: Node):
        source = node.args[0]
        if source in self.in_engine:
            level = self.levels[self.level[source]]
            level.values[node] = level.values[source][node.args[1]]
            self.level[node] = self.level[source]
            self.in_engine.add(node)
        else:
            self.outside[node] = self._after(node)

    def _number(self, node: Node):
        """Reads a float argument into the first graph."""
        level = self._level(0)
        placeholder = self.numbers[node]
        if placeholder not in level.arguments:
            level.arguments[placeholder] = (level.graph.add_input(node.name, "float32", []), None)
        level.values[node] = level.arguments[placeholder][0]
        self.level[node] = 0
        self.in_engine.add(node)

    @staticmethod
    def _follows_from_sizes(node: Node) -> bool:
        """Whether a number is an expression over the sizes of arguments."""
        try:
            dim_of(node.meta["val"])
        except UnknownSizeError:
            return False
        data = isinstance(node.target, torch._ops.OpOverload) and node.target.namespace == "aten"
        return not data or node.target.overloadpacket in SIZE_QUERIES

    def _fall_back(self, node: Node, reason: str):
        """Lets PyTorch compute the node, and says so."""
        name, source = operator_name(node.target), source_of(node)
        if node.target is SAVE or getattr(node.target, "namespace", "") in _ALWAYS_IN_TORCH:
            pass  # as it should be
        elif torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            report("RNG_IN_CAPTURE", name, source, strict=not self.options.force_eager)
        else:
            if name not in self.reported:
                report("OPERATOR_MISSING", name, source, reason, self.options.strict)
            self.reported.add(name)
        self.outside[node] = self._after(node)

    def _after(self, node: Node) -> int:
        """The engine graphs that must have run before PyTorch can compute the node."""
        return max((self._ready(n, inside=False) for n in node.all_input_nodes), default=-1)

    def _ready(self, node: Node, inside: bool) -> int:
        """The first level whose graph can read the node, or the level after which PyTorch can."""
        if node in self.in_engine:
            return self.level[node]
        if node in self.outside:
            return self.outside[node] + inside
        if node.op in ("placeholder", "get_attr"):
            return 0 if inside else -1
        return max(
            (self._ready(n, inside) for n in node.all_input_nodes if n in self.outside),
            default=0 if inside else -1,
        )

    def _engine(self, node: Node):
        """Adds the call to its level's graph; raises _RefusedError."""
        if not isinstance(node.target, torch._ops.OpOverload):
            raise _RefusedError("it is no operator of ATen")
        name = operator_name(node.target)
        if not _engine.has_op(name):
            raise _RefusedError("the engine does not have it")
        if node.target is torch.ops.aten.as_strided.default:
            self._stride_whole_memory(node)
        inputs = [n for n in node.all_input_nodes if tensors_in(n.meta.get("val"))]
        for tensor in tensors_in(node.meta["val"]):
            if str(tensor.device) != self.device:
                raise _RefusedError(f"its result is on the device {tensor.device}")
        level = max((self._ready(n, inside=True) for n in node.all_input_nodes), default=0)
        target = self._level(level)
        try:
            for operand in inputs:
                self._import(operand, level)
            arguments = {
                key: self._argument(argument, target) for key, argument in self._named(node).items()
            }
            results = target.graph.call(name, arguments, source_of(node), threads_of(node))
        except (_engine.Error, UnknownSizeError) as error:
            raise _RefusedError(getattr(error, "message", str(error))) from error
        self._check(node, results)
        several = isinstance(node.meta["val"], (list, tuple))
        target.values[node] = results if several else results[0]
        self.level[node] = level
        self.in_engine.add(node)

    def _level(self, index: int) -> Level:
        while len(self.levels) <= index:
            self.levels.append(Level(_engine.Graph(f"graph.{len(self.levels)}")))
        return self.levels[index]

    @staticmethod
    def _stride_whole_memory(node: Node):
        """Makes the operand the value whose memory it is a view of: that is what PyTorch strides,
        where the engine strides the operand.
        """
        arguments = dict(zip(("self", "size", "stride", "storage_offset"), node.args, strict=False))
        arguments |= node.kwargs
        base = arguments["self"]
        if arguments.get("storage_offset") is None:
            arguments["storage_offset"] = base.meta["val"].storage_offset()
        while not fills_memory(base.meta["val"]):
            sources = [
                source
                for source in base.all_input_nodes
                if isinstance(source.meta.get("val"), torch.Tensor)
                and shares_memory(source.meta["val"], base.meta["val"])
            ]
            if not sources:
                raise _RefusedError("its operand is a part of what lies in memory")
            base = sources[0]
        node.args = (base, *list(arguments.values())[1:])
        node.kwargs = {}

    def _check(self, node: Node, results):
        """What the engine infers must be what PyTorch saw, wherever both are sure."""
        for result, tensor in zip(results, tensors_in(node.meta["val"]), strict=False):
            if result.dtype != dtype_name(tensor.dtype) or len(result.shape) != tensor.dim():
                raise _RefusedError(f"expected {tensor.dtype}, got {result.dtype}")
            for ours, theirs in zip(result.shape, tensor.shape, strict=True):
                if ours.is_constant and isinstance(theirs, int) and int(ours) != theirs:
                    raise _RefusedError(f"expected {tuple(tensor.shape)}, got {result.shape}")

    def _named(self, node: Node) -> dict[str, Any]:
        if node.target not in self.names:
            self.names[node.target] = [a.name for a in node.target._schema.arguments]
        return {**dict(zip(self.names[node.target], node.args, strict=False)), **node.kwargs}

    def _argument(self, argument, level: Level):
        if isinstance(argument, Node):
            value = argument.meta.get("val")
            if isinstance(value, torch.Tensor):
                return level.values[argument]
            if isinstance(value, (torch.SymInt, int, float)):
                return dim_of(value)
            raise UnknownSizeError(f"the number {argument}")
        if isinstance(argument, (list, tuple)):
            return [self._argument(item, level) for item in argument]
        return dtype_name(argument) if isinstance(argument, torch.dtype) else argument

    def _import(self, node: Node, level: int):
        """Makes a value readable in a level's graph."""
        target = self.levels[level]
        if node in target.values:
            return
        tensor = node.meta["val"]
        if not isinstance(tensor, torch.Tensor):
            raise _RefusedError("an operand is a list of tensors")
        if str(tensor.device) != self.device:
            raise _RefusedError(f"an operand is on the device {tensor.device}")
        if node.op == "get_attr":
            held = getattr(self.gm, node.target)
            if held.numel() * held.element_size() <= _MOST_STORED_BYTES:
                held = held.cpu()
            target.values[node] = target.graph.add_tensor(node.name, held)
            return
        order = memory_order(tensor)
        shape = shape_of(tensor.shape)
        lying = [shape[dim] for dim in order] if order else shape
        add = target.graph.add_constant if node in self.static else target.graph.add_input
        value = add(node.name, dtype_name(tensor.dtype), lying)
        target.arguments[node] = (value, order)
        if order:
            back = [order.index(dim) for dim in range(len(order))]
            value = target.graph.call("aten.permute", {"self": value, "dims": back}, "")[0]
        target.values[node] = value
