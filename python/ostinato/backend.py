"""The `torch.compile` backend `ostinato`."""

import functools
import logging
import time

import torch
from torch._dynamo.backends.common import aot_autograd
from torch._guards import TracingContext
from torch.fx import GraphModule

import ostinato.tensors  # noqa: F401
from ostinato import debug
from ostinato.complex_numbers import take_complex_apart
from ostinato.constants import fold_foreign_constants
from ostinato.decompositions import decompositions
from ostinato.diagnostics import report
from ostinato.dump import dump_optimised, dump_original, give_all_values
from ostinato.graph_cache import cached
from ostinato.importer import Importer
from ostinato.module_floats import hold_module_floats
from ostinato.options import Options, make_options
from ostinato.placement import placed
from ostinato.rewrites import rewrite
from ostinato.scope import mark_scopes
from ostinato.whole import keep_whole

log = logging.getLogger("ostinato")


def import_graph(
    gm: GraphModule, static: set[int], options: Options, trace=debug.NO_TRACE, on_import=None
):
    """The callable, on the engine, of a graph of ATen operators; it takes a list of arguments."""
    start = time.perf_counter()
    take_complex_apart(gm)
    fold_foreign_constants(gm)
    importer = Importer(gm, static, options)
    compiled = importer.run()
    trace.engine([level.graph for level in importer.levels], gm, options)
    if on_import is not None:
        on_import(importer, compiled)
    log.info(
        "imported %d nodes in %.0f ms", len(gm.graph.nodes), 1e3 * (time.perf_counter() - start)
    )
    return compiled


def _compile(
    gm: GraphModule, example_inputs, static: set[int], options: Options, trace, on_import=None
):
    trace.forward("", gm)
    if options.dump_tensor_data and options.data_dump_stage == "original":
        return dump_original(gm, options)
    rewrite(gm, example_inputs, options, trace.forward)
    if not options.dump_tensor_data:
        return import_graph(gm, static, options, trace, on_import)
    names = give_all_values(gm)
    placeholders = [node.name for node in gm.graph.find_nodes(op="placeholder")]
    compiled = import_graph(gm, static, options, trace)
    return dump_optimised(compiled, placeholders, names, options)


def _compile_inference(gm: GraphModule, example_inputs, options: Options, given, trace, on_import):
    count, uncounted = given
    context = TracingContext.try_get()
    metadata = context.fw_metadata if context is not None else None
    static = set(metadata.static_input_indices) if metadata is not None else set()
    if uncounted and not options.frozen_parameter:
        same = count == len(example_inputs)  # AOTAutograd merges what shares memory
        static = static - uncounted if same else set()
    return _compile(gm, example_inputs, static, options, trace, on_import)


def _uncounted(example_inputs) -> tuple[int, set[int]]:
    """How many inputs there are, and which do not count the writes to them.

    Those are parameters made in inference mode: a change of them would not be noticed.
    """
    tensors = [(i, item) for i, item in enumerate(example_inputs) if isinstance(item, torch.Tensor)]
    return len(example_inputs), {i for i, tensor in tensors if tensor.is_inference()}


def _unused_compiler(gm: GraphModule, example_inputs):
    raise AssertionError("the backward pass is never compiled")


def _report_graph_break(gm: GraphModule, options: Options):
    """Puts on record that Dynamo's graph ends where it could not go on."""
    reason = getattr(gm, "compile_subgraph_reason", None)
    if reason is None or not reason.graph_break:
        return
    frames = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in reason.user_stack]
    what = reason.reason.strip().partition("\n")[0]
    report("GRAPH_BREAK", "", frames[-1] if frames else "", what, options.strict)


def _prepare(gm: GraphModule, options: Options):
    """Edits Dynamo's graph in place, before anything reads it."""
    mark_scopes(gm)
    hold_module_floats(gm)
    if options.pattern_fusion_pass:
        keep_whole(gm, options.device)


def compile_graph(gm: GraphModule, example_inputs, options: Options, compiler):
    """Makes a graph of ATen operators of Dynamo's graph, and lets `compiler` have it.

    The device of `options` must have been chosen.
    """
    _prepare(gm, options)
    return _trace(gm, example_inputs, compiler)


def _trace(gm: GraphModule, example_inputs, compiler, custom_decompositions: dict | None = None):
    return aot_autograd(
        fw_compiler=_unused_compiler,
        inference_compiler=compiler,
        decompositions={**decompositions(), **(custom_decompositions or {})},
        keep_inference_input_mutations=True,
    )(gm, example_inputs)


def ostinato(gm: GraphModule, example_inputs, *, mode=None, options=None):
    """Compiles Dynamo's graph; `options` are described in docs/torch-backend.md."""
    if mode not in (None, "default"):
        raise ValueError(f"expected no mode, got '{mode}': use options instead")
    return compile_dynamo_graph(gm, example_inputs, make_options(options))


def compile_dynamo_graph(
    gm: GraphModule,
    example_inputs,
    options: Options,
    custom_decompositions: dict | None = None,
    on_import=None,
):
    """The callable for Dynamo's graph; `on_import` gets the importer and what it made."""
    _report_graph_break(gm, options)
    tensors = [item for item in example_inputs if isinstance(item, torch.Tensor)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        report("BACKWARD", "", strict=options.strict)
        return gm.forward
    options = placed(options, tensors)
    trace = debug.trace("model")
    trace.dynamo(gm)
    _prepare(gm, options)

    def compile_with(on_import):
        compiler = functools.partial(
            _compile_inference,
            options=options,
            given=_uncounted(example_inputs),
            trace=trace,
            on_import=on_import,
        )
        return _trace(gm, example_inputs, compiler, custom_decompositions)

    if on_import is not None or custom_decompositions or trace is not debug.NO_TRACE:
        return compile_with(on_import)
    return cached(gm, example_inputs, options, compile_with)


def compile_fx(gm: GraphModule, example_inputs=None, options: dict | None = None):
    """A callable for an FX graph of ATen operators, as custom AOT backends make it.

    Where nodes carry no `meta["val"]`, `example_inputs` give the shapes. Parameters that the graph
    reads by `get_attr` are taken as they are at the time of the call.
    """
    if not isinstance(gm, GraphModule):
        raise TypeError(f"expected a torch.fx.GraphModule, got {gm!r}")
    if example_inputs is not None and not all(
        "val" in n.meta for n in gm.graph.nodes if n.op == "placeholder"
    ):
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.passes.fake_tensor_prop import FakeTensorProp

        with FakeTensorMode(allow_non_fake_inputs=True) as fake_mode:
            FakeTensorProp(gm, fake_mode).propagate(*example_inputs)
    held = [node.meta.get("val") for node in gm.graph.find_nodes(op="placeholder")]
    held += [getattr(gm, node.target) for node in gm.graph.find_nodes(op="get_attr")]
    tensors = [item for item in held if isinstance(item, torch.Tensor)]
    chosen = placed(make_options(options), tensors)
    output = gm.graph.output_node()
    alone = not isinstance(output.args[0], (list, tuple))
    if alone:
        output.args = ([output.args[0]],)
    compiled = _compile(gm, None, set(), chosen, debug.trace("compile"))
    if alone:
        return lambda *arguments: compiled(list(arguments))[0]
    return lambda *arguments: compiled(list(arguments))
