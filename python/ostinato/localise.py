"""Finds the stage and the operator that make a compiled model give wrong results."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.utils import _pytree as pytree

from ostinato.backend import compile_graph, import_graph
from ostinato.diagnostics import source_of
from ostinato.dump import give_all_values
from ostinato.importer import operator_name
from ostinato.options import Options, make_options
from ostinato.placement import placed
from ostinato.rewrites import rewrite

# Switched off one by one, to find what is to blame where no operator is.
_SWITCHES = (
    "remove_noop_ops",
    "inplace_pass",
    "input_inplace_pass",
    "remove_cat_ops",
)
_LOOK_AT = {
    "": "Nothing: every stage gives the model's results.",
    "aot_eager": "Look at the model, or at PyTorch: it happens without the engine.",
    "rewrite": "Look at that pass or rule.",
    "force_eager": "Look at the import and the kernel of that operator.",
    "graph": "Look at the engine's passes, plan and capture.",
}


@dataclass(frozen=True)
class Finding:
    """The first place where results go wrong; `stage` is empty where they do not."""

    stage: str = ""  # aot_eager, rewrite, force_eager or graph
    culprit: str = ""  # the pass or option, where one is to blame
    node: str = ""
    operator: str = ""
    source: str = ""  # `file:line in function`
    detail: str = ""

    @property
    def remedy(self) -> str:
        """Where to look."""
        return _LOOK_AT[self.stage]

    def __str__(self):
        parts = [self.culprit, f"{self.operator} ({self.node})" if self.node else "", self.source]
        where = ", ".join(part for part in parts if part)
        found = f"[{self.stage}] {where}: {self.detail}. " if self.stage else ""
        return found + self.remedy


@dataclass
class _Tolerance:
    rtol: float
    atol: float

    def difference(self, got, want) -> str:
        """Why two results are not close; empty where they are."""
        try:
            torch.testing.assert_close(got, want, rtol=self.rtol, atol=self.atol, equal_nan=True)
        except AssertionError as error:
            lines = [line for line in str(error).splitlines() if line]
            return "; ".join(lines[:1] + [line for line in lines if "absolute" in line])
        return ""


def _copy_graph(gm: GraphModule) -> GraphModule:
    graph = Graph()
    graph.output(graph.graph_copy(gm.graph, {}))
    return GraphModule(gm, graph)


def _fresh(arguments: list) -> list:
    return [x.clone() if isinstance(x, torch.Tensor) else x for x in arguments]


class _Recorder(Interpreter):
    """Runs a graph in PyTorch and keeps every node's value."""

    def __init__(self, gm: GraphModule):
        super().__init__(gm)
        self.values: dict[str, Any] = {}

    def run_node(self, n: Node):
        """Runs one node."""
        value = super().run_node(n)
        kept = isinstance(value, torch.Tensor)
        self.values[n.name] = value.clone() if kept else value
        return value


def _in_torch(gm: GraphModule, arguments: list) -> tuple[list, dict[str, Any]]:
    recorder = _Recorder(gm)
    results = list(recorder.run(*_fresh(arguments)))
    return results, recorder.values


class _Search:
    """The search in one graph of ATen operators, with the arguments of one call."""

    def __init__(self, gm: GraphModule, example_inputs, options: Options, tolerance: _Tolerance):
        self.options = options
        self.tolerance = tolerance
        self.original = _copy_graph(gm)
        self.stages: list[tuple[str, GraphModule]] = []
        rewrite(gm, example_inputs, options, self._observe)
        self.gm = gm

    def _observe(self, name: str, gm: GraphModule):
        self.stages.append((name, _copy_graph(gm)))

    def find(self, arguments: list) -> tuple[list, Finding]:
        """PyTorch's results, and what was found."""
        wanted, values = _in_torch(self.original, arguments)
        return wanted, (
            self._in_rewrites(arguments, wanted, values)
            or self._in_kernels(arguments)
            or self._in_replay(arguments)
            or Finding()
        )

    def _in_rewrites(self, arguments, wanted, values) -> Finding | None:
        for name, gm in self.stages:
            got, now = _in_torch(gm, arguments)
            detail = self.tolerance.difference(got, wanted)
            if detail:
                first = self._first_difference(gm, now, values)
                return replace(first, stage="rewrite", culprit=name, detail=detail)
            values = now
        return None

    def _first_difference(self, gm: GraphModule, got: dict, wanted: dict) -> Finding:
        for node in gm.graph.nodes:
            if node.op != "call_function" or node.name not in got:
                continue
            value = got[node.name]
            if not isinstance(value, torch.Tensor):
                continue
            known = wanted.get(node.name)
            detail = "it is new"
            if isinstance(known, torch.Tensor):
                detail = self.tolerance.difference(value, known)
            if detail:
                name = operator_name(node.target)
                return Finding("", "", node.name, name, source_of(node), detail)
        return Finding()

    def _in_kernels(self, arguments) -> Finding | None:
        """Each operator's kernel, first op by op, then as a graph whose values are all kept."""
        _, values = _in_torch(self.gm, arguments)
        for stage in ("force_eager", "graph"):
            gm = _copy_graph(self.gm)
            names = give_all_values(gm)
            options = replace(self.options, force_eager=stage == "force_eager")
            results = import_graph(gm, set(), options)(_fresh(arguments))
            got = dict(zip(names, results[len(results) - len(names) :], strict=True))
            finding = self._first_difference(self.gm, got, values)
            if finding.node:
                return replace(finding, stage=stage)
        return None

    def _in_replay(self, arguments) -> Finding | None:
        """The graph as it is, called twice, and what must be off for it to be right."""
        written = [n.args[0].name for n in self.gm.graph.nodes if _is_write(n)]
        names = [n.name for n in self.gm.graph.find_nodes(op="placeholder")]

        def difference(options: Options) -> str:
            run = import_graph(_copy_graph(self.gm), set(), options)
            for _ in range(2):
                given, reference = _fresh(arguments), _fresh(arguments)
                got = [x.clone() if isinstance(x, torch.Tensor) else x for x in run(given)]
                wanted = list(self.gm(*reference))
                got += [x for name, x in zip(names, given, strict=True) if name in written]
                wanted += [x for name, x in zip(names, reference, strict=True) if name in written]
                if detail := self.tolerance.difference(got, wanted):
                    return detail
            return ""

        detail = difference(self.options)
        if not detail:
            return None
        for switch in _SWITCHES:
            if not difference(replace(self.options, **{switch: False})):
                return Finding("graph", switch, detail=detail)
        return Finding("graph", detail=detail)


def _is_write(node: Node) -> bool:
    return node.target is torch.ops.aten.copy_.default and node.args[0].op == "placeholder"


def _call(model: Callable, inputs):
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


def bisect(
    model: Callable,
    inputs,
    options: dict | None = None,
    rtol: float = 1e-3,
    atol: float = 1e-3,
) -> Finding:
    """Where a compiled model's results begin to differ from the model's own.

    Stage by stage: AOTAutograd in PyTorch, each custom pass and rule, the engine's kernels op by
    op, and the captured graph; in each, operator by operator. `inputs` are a tuple, or a dict by
    name; they and the model's buffers are left as they are. What compiled code is left is
    forgotten.
    """
    chosen = make_options(options)
    tolerance = _Tolerance(rtol, atol)
    findings: list[Finding] = []

    def search(here: Options, gm: GraphModule, example_inputs):
        state = _Search(gm, example_inputs, here, tolerance)

        def call(arguments: list):
            results, finding = state.find(arguments)
            findings.append(finding)
            return results

        call._boxed_call = True
        return call

    def backend(gm: GraphModule, example_inputs):
        tensors = [item for item in example_inputs if isinstance(item, torch.Tensor)]
        here = placed(chosen, tensors)
        return compile_graph(gm, example_inputs, here, functools.partial(search, here))

    torch._dynamo.reset()
    state = copy.deepcopy(model.state_dict()) if isinstance(model, torch.nn.Module) else None
    with torch.no_grad():
        wanted = _call(model, pytree.tree_map_only(torch.Tensor, torch.clone, inputs))
        if state is not None:
            model.load_state_dict(state)
        copies = pytree.tree_map_only(torch.Tensor, torch.clone, inputs)
        got = _call(torch.compile(model, backend=backend), copies)
        if state is not None:
            model.load_state_dict(state)
    torch._dynamo.reset()
    detail = tolerance.difference(pytree.tree_leaves(got), pytree.tree_leaves(wanted))
    if detail:
        return Finding("aot_eager", detail=detail)
    return next((finding for finding in findings if finding.stage), Finding())
