"""What the trace of Dynamo's graph depends on, as text: the calls, the inputs, and the settings.

Only graphs whose text says all of them have a key: PyTorch's own functions over plain tensors and
sizes. Methods raise UnstorableError for others.
"""

import functools
import inspect
import pkgutil
from typing import Any

import torch
from torch.fx import GraphModule, Node

from ostinato import fingerprint, replacement
from ostinato.decompositions import decompositions
from ostinato.guards import Knowledge, UnstorableError
from ostinato.options import Options
from ostinato.scope import threads_of
from ostinato.whole import NAMESPACE

_NAMESPACES = {"aten", "prims", NAMESPACE}
_ROOTS = {"torch", "_operator", "math", "builtins"}
_PLAIN = (type(None), bool, int, float, complex, str, type(...))
_SIZES = (int, torch.SymInt)
_NAMED = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def text_of_calls(gm: GraphModule) -> str:
    """The graph's calls in order, a line each, without names."""
    numbers = {node: i for i, node in enumerate(gm.graph.nodes)}
    return "\n".join(_line(node, numbers) for node in gm.graph.nodes)


def _line(node: Node, numbers: dict[Node, int]) -> str:
    if threads_of(node):
        raise UnstorableError("limit_core_num is used within the function")
    if node.op == "placeholder":
        return node.op
    if node.op == "call_function":
        target = _name_of(node.target)
    elif node.op in ("call_method", "output"):
        target = node.target
    else:
        raise UnstorableError(f"the graph holds the tensor or module {node.target}")
    return f"{node.op} {target} {_argument([node.args, node.kwargs], numbers)}"


@functools.lru_cache(maxsize=4096)
def _name_of(target) -> str:
    """A name that stands for the function, wherever PyTorch is of the same version."""
    if isinstance(target, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        if str(target).partition(".")[0] not in _NAMESPACES:
            raise UnstorableError(f"the source of the operator {target} is not PyTorch's")
        return str(target)
    code = getattr(target, "__code__", None)
    found = None
    try:
        name = torch.fx.node._get_qualified_name(target)
        name = name if "." in name else f"builtins.{name}"
        found = pkgutil.resolve_name(name)
    except Exception as error:  # whatever looking up the name raises
        raise UnstorableError(f"the function {target} has no name") from error
    is_foreign = name.partition(".")[0] not in _ROOTS or (
        code is not None and not fingerprint.is_of_torch(code.co_filename)
    )
    if found is not target or is_foreign or isinstance(target, torch._ops.HigherOrderOperator):
        raise UnstorableError(f"the source of {target} is not in the graph")
    return name


def _argument(argument: Any, numbers: dict[Node, int]) -> str:
    if isinstance(argument, Node):
        return f"%{numbers[argument]}"
    if type(argument) in _PLAIN:
        return repr(argument)
    if isinstance(argument, _NAMED):
        return str(argument)
    if isinstance(argument, slice):
        parts = (argument.start, argument.stop, argument.step)
        return f"slice({', '.join(_argument(item, numbers) for item in parts)})"
    if isinstance(argument, dict):
        items = [f"{_argument(k, numbers)}: {_argument(v, numbers)}" for k, v in argument.items()]
        return f"{{{', '.join(items)}}}"
    if isinstance(argument, (list, tuple)):
        kind = "list" if isinstance(argument, list) else "tuple"
        return f"{kind}({', '.join(_argument(item, numbers) for item in argument)})"
    raise UnstorableError(f"a call's argument is a {type(argument).__qualname__}")


def text_of_inputs(gm: GraphModule, example_inputs) -> str:
    """What Dynamo saw of the inputs, a line each; not their elements."""
    storages: dict[int, int] = {}
    lines = []
    placeholders = gm.graph.find_nodes(op="placeholder")
    for node, given in zip(placeholders, example_inputs, strict=True):
        seen = node.meta.get("example_value")
        if type(given) in _SIZES and type(seen) in _SIZES:
            lines.append(f"size {seen}")
            continue
        if not _is_plain(given) or not isinstance(seen, torch.Tensor):
            raise UnstorableError(f"an input is a {type(given).__qualname__}")
        storage = given.untyped_storage()._cdata
        static = (node.meta.get("tensor_dict") or {}).get("_dynamo_static_input_type")
        described = (
            *(type(given).__name__, seen.dtype, seen.device, list(seen.shape), seen.stride()),
            *(seen.storage_offset(), seen.requires_grad, seen.is_conj(), seen.is_neg()),
            *(given.is_inference(), static, storages.setdefault(storage, len(storages))),
        )
        lines.append(" ".join(map(str, described)))
    return "\n".join(lines)


def _is_plain(tensor) -> bool:
    kinds = (torch.Tensor, torch.nn.Parameter, torch._subclasses.FakeTensor)
    return type(tensor) in kinds and tensor.layout is torch.strided


def text_of_sources(gm: GraphModule) -> str:
    """The lines of code that the calls come from."""
    return "\n".join(node.meta.get("stack_trace") or "" for node in gm.graph.nodes)


@functools.cache
def _foreign_decompositions() -> list[str]:
    """Operators that somebody else than PyTorch and this package takes apart."""
    found, own = [], decompositions.__module__
    for target, function in decompositions().items():
        function = inspect.unwrap(function)
        code = getattr(function, "__code__", None)
        known = getattr(function, "__module__", None) == own
        if not known and code is not None and not fingerprint.is_of_torch(code.co_filename):
            found.append(str(target))
    return found


def _require_alone(options: Options):
    """UnstorableError where code that the key cannot tell has a part in tracing."""
    passes = (options.post_grad_custom_pre_pass, options.post_grad_custom_post_pass)
    modes = torch._C._len_torch_dispatch_stack() + torch._C._len_torch_function_stack()
    for found, reason in (
        (any(item is not None for item in passes), "a custom pass edits the graph"),
        (replacement.registered(), "replacements are registered"),
        (options.dump_tensor_data, "dump_tensor_data is set"),
        (modes or torch._C._functorch.peek_interpreter_stack(), "a mode of PyTorch is active"),
        (_foreign_decompositions(), "an operator of PyTorch is decomposed by somebody else"),
    ):
        if found:
            raise UnstorableError(reason)


def _text_of_modes() -> str:
    """What PyTorch is set to, as far as it can change a trace."""
    autocast = {
        device: torch.get_autocast_dtype(device)
        for device in ("cpu", "cuda")
        if torch.is_autocast_enabled(device)
    }
    configs = (torch._functorch.config, torch.fx.experimental._config)
    settings = (
        *(autocast, torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        *(torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()),
        *(torch.backends.mkldnn.enabled, torch._C._get_math_sdp_enabled()),
        *(torch._C._get_flash_sdp_enabled(), torch._C._get_mem_efficient_sdp_enabled()),
        *(config.get_hash().hex() for config in configs),
    )
    return " ".join(map(str, settings))


def key_of(
    gm: GraphModule, example_inputs, knowledge: Knowledge, options: Options
) -> dict[str, str]:
    """What a trace of the graph depends on beside its calls, each by a name for explanations."""
    _require_alone(options)
    return {
        "the inputs": fingerprint.digest(text_of_inputs(gm, example_inputs)),
        "what is known of sizes": fingerprint.digest(knowledge.text()),
        "the source lines": fingerprint.digest(text_of_sources(gm)),
        "PyTorch's settings": fingerprint.digest(_text_of_modes()),
        **fingerprint.of_platform(),
        **{f"the option {name}": repr(value) for name, value in vars(options).items()},
    }
