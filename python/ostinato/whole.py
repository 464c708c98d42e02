"""Keeps operators whole that PyTorch would take apart on the way, such as attention.

An operator that ATen composes of others (`linear`, `scaled_dot_product_attention`) reaches no
backend: tracing sees its parts. Where the engine has the operator, calls in Dynamo's graph are
replaced by an opaque twin in the namespace `ostinato`, which computes the same in PyTorch.
"""

import torch
from torch.fx import GraphModule, Node
from torch.overrides import TorchFunctionMode

from ostinato import _engine
from ostinato.placement import kind_of
from ostinato.sizes import UnknownSizeError, shape_of

NAMESPACE = "ostinato"
_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_twins: dict[torch._ops.OpOverload, torch._ops.OpOverload] = {}


def _composite(target) -> torch._ops.OpOverload | None:
    """The ATen operator behind a function, if ATen composes it and the engine has it whole."""
    name = getattr(target, "__name__", "")
    if not name or not _engine.has_op(f"aten.{name}"):
        return None
    packet = getattr(torch.ops.aten, name, None)
    overload = getattr(packet, "default", None)
    if overload is None or any(a.alias_info for a in overload._schema.arguments):
        return None
    composed = torch._C._dispatch_has_kernel_for_dispatch_key(
        overload.name(), "CompositeImplicitAutograd"
    )
    return overload if composed else None


def _twin(overload: torch._ops.OpOverload) -> torch._ops.OpOverload:
    if overload not in _twins:
        name = overload._schema.name.split("::")[1]
        _library.define(name + str(overload._schema).removeprefix(f"aten::{name}"))
        _library.impl(name, overload, "CompositeExplicitAutograd")
        torch.library.register_fake(f"{NAMESPACE}::{name}", overload, lib=_library)
        _twins[overload] = getattr(getattr(torch.ops, NAMESPACE), name).default
    return _twins[overload]


def twin_named(name: str) -> torch._ops.OpOverload:
    """The twin of the operator of ATen with that name."""
    return _twin(getattr(torch.ops.aten, name).default)


def _arguments(args, kwargs, overload: torch._ops.OpOverload) -> dict | None:
    names = [argument.name for argument in overload._schema.arguments]
    if len(args) > len(names) or not set(kwargs) <= set(names):
        return None
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _taken(overload: torch._ops.OpOverload, arguments: dict) -> bool:
    """Whether the engine takes the call, judged by the types that Dynamo saw."""
    graph = _engine.Graph("trial")

    def value_of(argument):
        tensor = argument
        if isinstance(argument, Node):
            tensor = argument.meta.get("example_value")
            if not isinstance(tensor, torch.Tensor):
                raise UnknownSizeError("a number")
        if not isinstance(tensor, torch.Tensor):
            return argument
        dtype = str(tensor.dtype).removeprefix("torch.")
        return graph.add_input("", dtype, shape_of(tensor.shape))

    try:
        values = {name: value_of(argument) for name, argument in arguments.items()}
        graph.call(f"aten.{overload._schema.name.split('::')[1]}", values, "")
    except (_engine.Error, UnknownSizeError):
        return False
    return True


def keep_whole(gm: GraphModule, device: str):
    """Keeps operators of Dynamo's graph whole that the engine has so. Its tensors are on `device`.

    In place: a copy would lose what Dynamo tells AOTAutograd beside the graph.
    """
    autocast = torch.amp.autocast_mode._enter_autocast
    on = torch.is_autocast_enabled(kind_of(device))
    if on or any(n.target is autocast for n in gm.graph.nodes):
        return  # the twins' operands would not be converted
    for node in gm.graph.nodes:
        overload = _composite(node.target) if node.op == "call_function" else None
        arguments = _arguments(node.args, node.kwargs, overload) if overload is not None else None
        if arguments is not None and _taken(overload, arguments):
            node.target, node.args, node.kwargs = _twin(overload), (), arguments
    gm.recompile()


class WholeMode(TorchFunctionMode):
    """Keeps the same operators whole while a function is traced without Dynamo."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Calls the twin where there is one."""
        kwargs = kwargs or {}
        overload = _composite(func)
        arguments = _arguments(args, kwargs, overload) if overload is not None else None
        if arguments is not None and _taken(overload, arguments):
            return _twin(overload)(**arguments)
        return func(*args, **kwargs)
