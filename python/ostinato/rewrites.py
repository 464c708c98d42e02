"""What rewrites the ATen graph before import: custom passes and the rules that users register."""

import logging
from collections.abc import Callable

import torch
from torch._dynamo.utils import detect_fake_mode
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from ostinato import replacement
from ostinato.diagnostics import Error
from ostinato.options import Options

log = logging.getLogger("ostinato")

# Called with the name of a rewrite and the graph that it left.
Observer = Callable[[str, GraphModule], None]


def _example_inputs(gm: GraphModule) -> list:
    """What stands for the inputs: fake tensors and symbolic sizes, as tracing saw them."""
    return [node.meta.get("val") for node in gm.graph.nodes if node.op == "placeholder"]


def _complete(gm: GraphModule):
    """Gives nodes that a rewrite added the value that later stages read their type from."""
    values = [node.meta["val"] for node in gm.graph.nodes if "val" in node.meta]
    mode = detect_fake_mode(values)

    def value_of(node: Node):
        if node.op == "get_attr" and "val" not in node.meta:
            tensor = getattr(gm, node.target)
            return mode.from_tensor(tensor) if mode is not None else tensor
        return node.meta["val"]

    for node in gm.graph.nodes:
        if node.op == "get_attr":
            node.meta["val"] = value_of(node)
        elif node.op == "call_function" and "val" not in node.meta:
            arguments = map_arg((node.args, node.kwargs), value_of)
            with mode or torch.no_grad():
                node.meta["val"] = node.target(*arguments[0], **arguments[1])


def _results(gm: GraphModule) -> list:
    output = gm.graph.output_node()
    return [node.meta.get("val") if isinstance(node, Node) else node for node in output.args[0]]


def _describe(value) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{value.dtype} of ({', '.join(map(str, value.shape))})"


def _is_like(new, old) -> bool:
    """Whether a result stays of its type; sizes are compared where both are known."""
    if not isinstance(old, torch.Tensor) or not isinstance(new, torch.Tensor):
        return type(new) is type(old)
    if new.dtype != old.dtype or new.dim() != old.dim():
        return False
    sizes = zip(new.shape, old.shape, strict=True)
    return all(n == o for n, o in sizes if type(n) is int and type(o) is int)


def _check_results(name: str, before: list, after: list):
    if len(before) != len(after):
        raise Error(f"{name} makes {len(after)} results of {len(before)}: it must keep them")
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if not _is_like(new, old):
            raise Error(
                f"{name} makes result {index}, which is {_describe(old)}, {_describe(new)}: "
                "a pass must keep the graph's results"
            )


def rewrite(gm: GraphModule, example_inputs, options: Options, observe: Observer):
    """Edits the graph in place: the pre-pass, registered rules, the post-pass.

    A custom pass that raises stops the compilation: it must raise where it is unsure. So does one
    that gives other results than the graph had.
    """
    inputs = list(example_inputs) if example_inputs is not None else _example_inputs(gm)

    def custom(name: str, function: Callable | None):
        if function is None:
            return
        before, results = len(gm.graph.nodes), _results(gm)
        function(gm, inputs, options)
        _complete(gm)
        _check_results(name, results, _results(gm))
        gm.graph.lint()
        gm.recompile()
        log.info("%s: %d nodes, %d before", name, len(gm.graph.nodes), before)
        observe(name, gm)

    custom("post_grad_custom_pre_pass", options.post_grad_custom_pre_pass)
    if options.pattern_fusion_pass and replacement.apply(gm, options):
        _complete(gm)
        observe("pattern_fusion_pass", gm)
    custom("post_grad_custom_post_pass", options.post_grad_custom_post_pass)
    gm.graph.eliminate_dead_code()
    gm.recompile()
