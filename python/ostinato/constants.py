"""Computes what follows from no input, where the engine cannot: tables in float64, for example."""

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from ostinato import _engine
from ostinato.importer import dtype_name, operator_name

_MOST_ELEMENTS = 1 << 22  # of a constant, and of what it is computed from
_DTYPES = {"float32", "bfloat16", "float16", "int64", "int32", "uint8", "bool"}


def _is_small_tensor(value) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.device.type in ("cpu", "cuda")
        and all(isinstance(size, int) for size in value.shape)
        and value.numel() <= _MOST_ELEMENTS
    )


def _is_plain_call(node: Node) -> bool:
    """Whether the node calls a function of its arguments alone."""
    target = node.target
    return (
        node.op == "call_function"
        and isinstance(target, torch._ops.OpOverload)
        and target.namespace == "aten"
        and not target._schema.is_mutable
        and torch.Tag.nondeterministic_seeded not in target.tags
    )


class _Constants:
    """The nodes of a graph that follow from no input."""

    def __init__(self, gm: GraphModule):
        self.gm = gm
        self.foreign: dict[Node, bool] = {}  # whether the engine could not compute it
        self.values: dict[Node, torch.Tensor] = {}
        for node in gm.graph.nodes:
            value = node.meta.get("val")
            if not _is_small_tensor(value):
                continue
            lacks = dtype_name(value.dtype) not in _DTYPES
            if node.op == "get_attr":
                self.foreign[node] = lacks
            elif _is_plain_call(node) and all(n in self.foreign for n in node.all_input_nodes):
                lacks |= not _engine.has_op(operator_name(node.target))
                self.foreign[node] = lacks or any(self.foreign[n] for n in node.all_input_nodes)

    def wanted(self) -> list[Node]:
        """Those that the engine can read but not compute, and reads."""
        return [
            node
            for node, foreign in self.foreign.items()
            if foreign
            and node.op == "call_function"
            and dtype_name(node.meta["val"].dtype) in _DTYPES
            and any(user.op != "output" and not self.foreign.get(user) for user in node.users)
        ]

    def value(self, node: Node) -> torch.Tensor:
        """Computed by PyTorch."""
        if node not in self.values:
            if node.op == "get_attr":
                self.values[node] = getattr(self.gm, node.target)
            else:
                arguments = map_arg((node.args, dict(node.kwargs)), self.value)
                self.values[node] = node.target(*arguments[0], **arguments[1])
        return self.values[node]


def fold_foreign_constants(gm: GraphModule):
    """Replaces such constants by their values, in place."""
    constants = _Constants(gm)
    wanted = constants.wanted()
    for node in wanted:
        with unset_fake_temporarily(), torch.no_grad():
            value = constants.value(node).contiguous()
        name = f"_constant_of_{node.name}"
        gm.register_buffer(name, value, persistent=False)
        with gm.graph.inserting_before(node):
            constant = gm.graph.get_attr(name)
        constant.meta = {**node.meta}
        node.replace_all_uses_with(constant, delete_user_cb=lambda user: user.op != "output")
    if wanted:
        gm.graph.eliminate_dead_code()
        gm.recompile()
