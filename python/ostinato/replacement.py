"""Rules that users register: where a graph computes this, let it compute that instead."""

import inspect
import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.utils import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.traceback import preserve_node_meta
from torch.utils import _pytree as pytree

from ostinato.decompositions import decompositions
from ostinato.diagnostics import report, source_of
from ostinato.importer import operator_name
from ostinato.whole import WholeMode

log = logging.getLogger("ostinato")


def _trace(function: Callable, arguments, whole: bool) -> GraphModule:
    with enable_python_dispatcher(), preserve_node_meta(), WholeMode() if whole else nullcontext():
        gm = make_fx(function, decompositions(), tracing_mode="real")(*arguments)
    gm.graph.eliminate_dead_code()
    gm.recompile()
    return gm


def forward(function: Callable, arguments, **_) -> GraphModule:
    """Traces as the backend does for inference: core ATen, with what the engine has kept whole."""
    return _trace(function, arguments, whole=True)


def _forward_in_parts(function: Callable, arguments, **_) -> GraphModule:
    """The same with nothing kept whole, as in graphs where the engine cannot take the whole."""
    return _trace(function, arguments, whole=False)


def always(match) -> bool:
    """The extra check that lets every match through."""
    return True


@dataclass
class _Rules:
    """The rules of this process; PyTorch's matcher is imported with the first."""

    matcher: object = None
    count: int = 0


_rules = _Rules()
_lock = threading.Lock()


class _BadRuleError(ValueError):
    """A rule that cannot be right."""


def _require(condition: bool, reason: str):
    if not condition:
        raise _BadRuleError(f"this rule cannot be registered: {reason}")


def _outputs(gm: GraphModule) -> list:
    output = gm.graph.output_node()
    return pytree.tree_leaves(output.args[0])


def _value(item):
    return item.meta.get("val") if isinstance(item, Node) else item


def _difference(wanted: list, got: list) -> str:
    """Why one list of results cannot stand for the other; empty where it can."""
    if len(wanted) != len(got):
        return f"expected {len(wanted)} results, got {len(got)}"
    for index, (before, after) in enumerate(zip(wanted, got, strict=True)):
        if isinstance(before, torch.Tensor) != isinstance(after, torch.Tensor):
            return f"result {index} is a tensor in one of the two only"
        if not isinstance(before, torch.Tensor):
            continue
        if before.dtype != after.dtype or before.dim() != after.dim():
            return (
                f"expected {before.dtype} of {before.dim()} dims for result {index}, "
                f"got {after.dtype} of {after.dim()} dims"
            )
        sizes = zip(before.shape, after.shape, strict=True)
        if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in sizes):
            return (
                f"expected the shape {tuple(before.shape)} for result {index}, "
                f"got {tuple(after.shape)}"
            )
    return ""


def _check_functional(gm: GraphModule, what: str):
    for node in gm.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        name = operator_name(node.target)
        _require(not node.target._schema.is_mutable, f"{what} writes to a tensor ({name})")
        random = torch.Tag.nondeterministic_seeded in node.target.tags
        _require(not random, f"{what} draws random numbers ({name})")


def _check(search, replace, inputs, trace, pattern, scalars):
    """Raises ValueError with the reason for a rule that cannot be right."""
    _require(callable(search) and callable(replace), "search_fn and replace_fn must be functions")
    names = list(inspect.signature(search).parameters)
    others = list(inspect.signature(replace).parameters)
    _require(names == others, f"search_fn takes {names}, but replace_fn takes {others}")
    values = list(scalars.values())
    _require(len(set(values)) == len(values), "two scalars of scalar_workaround are equal")
    unknown = [name for name in scalars if name not in names]
    _require(not unknown, f"scalar_workaround names {unknown}, which search_fn does not take")
    expected = len(names) - len(scalars)
    _require(
        len(inputs) == expected,
        f"expected {expected} example inputs, one for each parameter of search_fn that is no "
        f"scalar, got {len(inputs)}",
    )
    given = iter(inputs)
    arguments = [scalars[name] if name in scalars else next(given) for name in names]
    graphs = []
    for what, function in (("search_fn", search), ("replace_fn", replace)):
        try:
            graphs.append(trace(function, arguments))
        except Exception as error:
            raise _BadRuleError(f"this rule cannot be registered: {what} raised {error}") from error
        _check_functional(graphs[-1], what)
    before, after = graphs
    if pattern is None:
        calls = [node for node in before.graph.nodes if node.op == "call_function"]
        _require(bool(calls), "search_fn calls no operator")
        inputs = zip(names, before.graph.find_nodes(op="placeholder"), strict=False)
        unused = [n for n, node in inputs if n not in scalars and not node.users]
        _require(not unused, f"search_fn does not use {unused}")
    wanted, got = (list(map(_value, _outputs(gm))) for gm in graphs)
    difference = _difference(wanted, got)
    _require(not difference, f"replace_fn gives something else than search_fn: {difference}")


def _guarded(replace: Callable, trace: Callable, extra_check: Callable) -> Callable:
    """The user's check, and whether the replacement gives what the match gave.

    A match for which either raises, or the results differ in type, is left alone, on record.
    """
    names = list(inspect.signature(replace).parameters)

    def check(match) -> bool:
        outputs = [node for node in match.output_nodes() if node is not None]
        try:
            if not extra_check(match):
                return False
            arguments = pytree.tree_map(_value, [match.kwargs[name] for name in names])
            got = map(_value, _outputs(trace(replace, arguments)))
            difference = _difference([node.meta["val"] for node in outputs], list(got))
        except Exception as error:
            difference = f"{type(error).__name__}: {error}"
        if difference:
            name = getattr(replace, "__name__", "replace_fn")
            report("PASS_SKIPPED", name, source_of(outputs[0]), difference)
        return not difference

    return check


def register_replacement(
    search_fn: Callable,
    replace_fn: Callable,
    example_inputs,
    trace_fn: Callable = forward,
    extra_check: Callable = always,
    search_fn_pattern=None,
    scalar_workaround: dict[str, float | int] | None = None,
    skip_duplicates: bool = False,
) -> bool:
    """Registers a rule for all graphs compiled from now on: `search_fn` becomes `replace_fn`.

    `example_inputs` fill the parameters that are no scalars; their sizes do not matter.
    `scalar_workaround` gives each named scalar a value of its own, which then matches any.
    `extra_check` gets PyTorch's `Match`. `search_fn_pattern` stands for what tracing `search_fn`
    would give. False for a duplicate with `skip_duplicates`. Raises ValueError for a rule that
    cannot be right, and RuntimeError for a duplicate; nothing is registered then.
    """
    from torch._inductor import pattern_matcher

    if not isinstance(example_inputs, (list, tuple)):
        raise TypeError(f"expected a list or tuple of example inputs, got {example_inputs!r}")
    scalars = dict(scalar_workaround or {})
    mode = detect_fake_mode(example_inputs) or FakeTensorMode()
    with _lock, mode, torch.no_grad():
        inputs = pytree.tree_map_only(torch.Tensor, mode.from_tensor, list(example_inputs))
        _check(search_fn, replace_fn, inputs, trace_fn, search_fn_pattern, scalars)
        if _rules.matcher is None:
            _rules.matcher = pattern_matcher.PatternMatcherPass(pass_name="ostinato")

        def add(trace: Callable, skip: bool) -> bool:
            return bool(
                pattern_matcher.register_replacement(
                    search_fn,
                    replace_fn,
                    inputs,
                    trace_fn=trace,
                    pass_dicts=_rules.matcher,
                    extra_check=_guarded(replace_fn, trace, extra_check),
                    scalar_workaround=scalars or None,
                    search_fn_pattern=search_fn_pattern,
                    skip_duplicates=skip,
                )
            )

        added = add(trace_fn, skip_duplicates)
        if added and trace_fn is forward and search_fn_pattern is None:
            add(_forward_in_parts, True)
        _rules.count += added
    return added


def registered() -> int:
    """How many rules there are; a compiled graph depends on them."""
    return _rules.count


def apply(gm: GraphModule, options) -> int:
    """Applies all rules to a graph of ATen calls, in place; how many matches there were."""
    if _rules.matcher is None:
        return 0
    from torch._inductor import pattern_matcher
    from torch._inductor.fx_passes.post_grad import remove_noop_ops

    if options.remove_noop_ops:
        remove_noop_ops(gm.graph)
    with _lock:
        count = _rules.matcher.apply(gm)
    if count:
        pattern_matcher.stable_topological_sort(gm.graph)
        gm.graph.lint()
        log.info("replaced %d matches of registered rules", count)
    gm.recompile()
    return count
