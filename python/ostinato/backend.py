"""The `torch.compile` backend `ostinato`."""

import functools
import logging
import time

import torch
from torch._decomp import core_aten_decompositions
from torch._dynamo.backends.common import aot_autograd
from torch._guards import TracingContext
from torch.fx import GraphModule

import ostinato.tensors  # noqa: F401
from ostinato import _engine
from ostinato.diagnostics import report
from ostinato.importer import Importer, operator_name
from ostinato.module_floats import hold_module_floats
from ostinato.options import Options, make_options
from ostinato.whole import keep_whole

log = logging.getLogger("ostinato")


@functools.cache
def decompositions() -> dict:
    """To core ATen, but for what the engine has as it is."""
    return {
        target: function
        for target, function in core_aten_decompositions().items()
        if not _engine.has_op(operator_name(target))
    }


def _import(gm: GraphModule, static: set[int], options: Options, on_import=None):
    start = time.perf_counter()
    if options.post_grad_custom_pre_pass is not None:
        options.post_grad_custom_pre_pass(gm, None, options)
    if options.post_grad_custom_post_pass is not None:
        options.post_grad_custom_post_pass(gm, None, options)
    gm.graph.eliminate_dead_code()
    importer = Importer(gm, static, options)
    compiled = importer.run()
    if on_import is not None:
        on_import(importer, compiled)
    log.info(
        "imported %d nodes in %.0f ms", len(gm.graph.nodes), 1e3 * (time.perf_counter() - start)
    )
    return compiled


def _compile_inference(gm: GraphModule, example_inputs, options: Options, given, on_import):
    count, uncounted = given
    context = TracingContext.try_get()
    metadata = context.fw_metadata if context is not None else None
    static = set(metadata.static_input_indices) if metadata is not None else set()
    if uncounted and not options.frozen_parameter:
        same = count == len(example_inputs)  # AOTAutograd merges what shares memory
        static = static - uncounted if same else set()
    return _import(gm, static, options, on_import)


def _uncounted(example_inputs) -> tuple[int, set[int]]:
    """How many inputs there are, and which do not count the writes to them.

    Those are parameters made in inference mode: a change of them would not be noticed.
    """
    tensors = [(i, item) for i, item in enumerate(example_inputs) if isinstance(item, torch.Tensor)]
    return len(example_inputs), {i for i, tensor in tensors if tensor.is_inference()}


def _unused_compiler(gm: GraphModule, example_inputs):
    raise AssertionError("the backward pass is never compiled")


def ostinato(gm: GraphModule, example_inputs, *, mode=None, options=None):
    """Compiles Dynamo's graph; `options` are described in docs/torch-backend.md."""
    if mode not in (None, "default"):
        raise ValueError(f"expected no mode, got '{mode}': use options instead")
    return compile_dynamo_graph(gm, example_inputs, make_options(options))


def compile_dynamo_graph(
    gm: GraphModule,
    example_inputs,
    chosen: Options,
    custom_decompositions: dict | None = None,
    on_import=None,
):
    """The callable for Dynamo's graph; `on_import` gets the importer and what it made."""
    tensors = [item for item in example_inputs if isinstance(item, torch.Tensor)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        report("BACKWARD", "", strict=chosen.strict)
        return gm.forward
    hold_module_floats(gm)
    if chosen.pattern_fusion_pass:
        keep_whole(gm)
    compiler = functools.partial(
        _compile_inference, options=chosen, given=_uncounted(example_inputs), on_import=on_import
    )
    return aot_autograd(
        fw_compiler=_unused_compiler,
        inference_compiler=compiler,
        decompositions={**decompositions(), **(custom_decompositions or {})},
        keep_inference_input_mutations=True,
    )(gm, example_inputs)


def compile_fx(gm: GraphModule, example_inputs=None, options: dict | None = None):
    """A callable for an FX graph of ATen operators, as custom AOT backends make it.

    Where nodes carry no `meta["val"]`, `example_inputs` give the shapes. Parameters that the graph
    reads by `get_attr` are taken as they are at the time of the call.
    """
    if example_inputs is not None and not all(
        "val" in n.meta for n in gm.graph.nodes if n.op == "placeholder"
    ):
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.passes.fake_tensor_prop import FakeTensorProp

        with FakeTensorMode(allow_non_fake_inputs=True) as fake_mode:
            FakeTensorProp(gm, fake_mode).propagate(*example_inputs)
    compiled = _import(gm, set(), make_options(options))
    return lambda *arguments: compiled(list(arguments))
