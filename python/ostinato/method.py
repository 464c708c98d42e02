"""One trace of a module's method, in a form that can be stored and run without tracing.

What Dynamo makes of a method is observed from outside: which tensor of the arguments or the module
each input of the graph is, and where each result of the graph is in what the method returns.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch._guards import TracingContext
from torch.utils import _pytree as pytree

from ostinato import fingerprint
from ostinato._engine import Dim
from ostinato.backend import compile_dynamo_graph
from ostinato.guards import UnstorableError, conditions_of, describe, evaluate
from ostinato.options import Options
from ostinato.plan import RunnerPlan
from ostinato.sizes import UnknownSizeError, dim_of
from ostinato.weights import LiveTensors

_KEPT_SIZES = 4096
_CONSTANTS = (int, float, str, type(None))  # and bool, which is an int


@dataclass
class Call:
    """The arguments of one call by name, taken apart."""

    leaves: list[Any]
    spec: pytree.TreeSpec
    names: list[str]  # as Dynamo calls them: `L['caches'][0]`; empty unless asked for


def take_apart(signature, args, kwargs, with_names=False) -> Call:
    """Binds arguments to names, with defaults, and flattens them."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    if not with_names:
        return Call(*pytree.tree_flatten(bound.arguments), [])
    paths, spec = pytree.tree_flatten_with_path(bound.arguments)
    names = ["L" + pytree.keystr(path) for path, _ in paths]
    return Call([leaf for _, leaf in paths], spec, names)


def modes() -> dict[str, Any]:
    """What else a trace depends on."""
    return {
        "autocast": str(torch.get_autocast_dtype("cpu"))
        if torch.is_autocast_enabled("cpu")
        else "",
        "default dtype": str(torch.get_default_dtype()),
    }


class _Tagged(int):
    """An int that can be told from an equal one."""


class Observer:
    """A backend that keeps what it saw of one trace and of the first call."""

    def __init__(self, options: Options, decompositions: dict | None):
        self._options = options
        self._decompositions = decompositions
        self.importer = None
        self.runner = None
        self.metadata = None
        self.shape_env = None
        self.sources: list[str] = []  # of Dynamo's inputs
        self.code: list[Any] = []
        self.graphs = 0
        self.arguments: list[Any] | None = None
        self.outputs: list[Any] = []

    def __call__(self, gm, example_inputs):
        """The callable for Dynamo's graph."""
        from torch._dynamo.symbolic_convert import InstructionTranslator

        self.graphs += 1
        for node in gm.graph.nodes:
            if node.op == "placeholder":
                name = getattr(getattr(node, "_dynamo_source", None), "name", "")
                self.sources.append(name() if callable(name) else name)
        self.code = list(InstructionTranslator.current_tx().output.traced_code)
        compiled = compile_dynamo_graph(
            gm, example_inputs, self._options, self._decompositions, self._on_import
        )

        def run(*arguments):
            results = compiled(*arguments)
            if self.arguments is None:
                self.arguments = list(arguments)
                results = [_Tagged(item) if type(item) is int else item for item in results]
                self.outputs = results
            return results

        return run

    def _on_import(self, importer, runner):
        self.importer, self.runner = importer, runner
        context = TracingContext.get()
        self.metadata = context.fw_metadata
        self.shape_env = context.fake_mode.shape_env


def _evaluated(size: int | str, symbols: dict[str, int]) -> int:
    return size if isinstance(size, int) else Dim.parse(size).evaluate(symbols)


def _size_data(size) -> int | str:
    dim = dim_of(size)
    return dim if isinstance(dim, int) else repr(dim)


class _Writer:
    """Makes the document of an observed trace. Methods raise UnstorableError."""

    def __init__(self, seen: Observer, call: Call, tensors: dict[str, torch.Tensor]):
        self.seen = seen
        self.call = call
        self.tensor_names = {id(tensor): name for name, tensor in reversed(tensors.items())}
        self.leaf_of: dict[int, int] = {}
        for i, leaf in enumerate(call.leaves):
            if isinstance(leaf, torch.Tensor):
                self.leaf_of.setdefault(id(leaf), i)

    def run(self, result) -> tuple[dict[str, Any], list[bytes]]:
        """The document and the elements of constants."""
        self._check()
        inputs = [self._input(i) for i in range(len(self.seen.importer.placeholders))]
        arguments = self._arguments()
        document, elements = self.seen.importer.plan.to_data()
        outputs, spec = pytree.tree_flatten(result)
        symbolic = [
            leaf
            for leaf, kind in zip(self.call.leaves, arguments, strict=True)
            if kind[0] == "size"
        ]
        if any(type(item) is int and item in symbolic for item in outputs):
            raise UnstorableError("a result may be an int of the arguments, or a constant like it")
        return {
            **document,
            "inputs": inputs,
            "arguments": {"spec": _spec_data(self.call.spec), "leaves": arguments},
            "results": {
                "spec": _spec_data(spec),
                "leaves": [self._result(item) for item in outputs],
            },
            "conditions": conditions_of(self.seen.shape_env, self._symbols(arguments)),
            "modes": modes(),
        }, elements

    def _check(self):
        seen = self.seen
        if seen.graphs != 1 or seen.importer is None:
            raise UnstorableError("the method is not one graph without gradients")
        if seen.importer.plan is None:
            raise UnstorableError(
                "some operators run in PyTorch, or a result is a view that the engine does not make"
            )
        if seen.importer.plan.graph.limits_threads:
            raise UnstorableError("limit_core_num is used within the method")
        if len(seen.importer.placeholders) != len(seen.sources):
            raise UnstorableError("arguments share memory that the method writes to")
        if seen.metadata.mutated_inp_runtime_indices:
            raise UnstorableError("an argument is changed in another way than by its elements")

    def _input(self, index: int):
        node, given = self.seen.importer.placeholders[index], self.seen.arguments[index]
        if isinstance(node.meta["val"], torch.Tensor):
            if id(given) in self.leaf_of:
                return ["leaf", self.leaf_of[id(given)]]
            if id(given) in self.tensor_names:
                return ["tensor", self.tensor_names[id(given)]]
            source = self.seen.sources[index]
            raise UnstorableError(
                f"the tensor {source} belongs neither to arguments nor the module"
            )
        return ["size", self._size(node.meta["val"])]

    @staticmethod
    def _size(size):
        try:
            return _size_data(size)
        except UnknownSizeError as error:
            raise UnstorableError(f"{error} cannot be stored") from error

    def _arguments(self) -> list:
        """What each leaf must be."""
        placeholders = self.seen.importer.placeholders
        by_leaf, by_source = {}, {}
        for node, given, source in zip(
            placeholders, self.seen.arguments, self.seen.sources, strict=True
        ):
            by_leaf.setdefault(self.leaf_of.get(id(given)), node.meta["val"])
            by_source[source] = node.meta["val"]
        found = []
        for i, leaf in enumerate(self.call.leaves):
            if isinstance(leaf, torch.Tensor):
                seen = by_leaf.get(self.leaf_of[id(leaf)], leaf)
                found.append(
                    [
                        "tensor",
                        str(leaf.dtype),
                        str(leaf.device),
                        [self._size(size) for size in seen.shape],
                        [self._size(stride) for stride in seen.stride()],
                        self.leaf_of[id(leaf)],
                    ]
                )
            elif isinstance(by_source.get(self.call.names[i]), torch.SymInt):
                found.append(["size", self._size(by_source[self.call.names[i]])])
            elif isinstance(leaf, _CONSTANTS):
                found.append(["constant", leaf])
            elif isinstance(leaf, (torch.dtype, torch.device)):
                found.append(["text", str(leaf)])
            else:
                name = f"{type(leaf).__module__}.{type(leaf).__qualname__}"
                raise UnstorableError(f"the argument {self.call.names[i]} is a {name}")
        return found

    @staticmethod
    def _symbols(arguments: list) -> set[str]:
        names = set()
        for kind, *rest in arguments:
            sizes = rest[2] if kind == "tensor" else rest if kind == "size" else []
            names.update(size for size in sizes if isinstance(size, str) and size.isidentifier())
        return names

    def _result(self, leaf):
        for i, output in enumerate(self.seen.outputs):
            if leaf is output and isinstance(output, (torch.Tensor, _Tagged)):
                return ["output", i]
        if id(leaf) in self.leaf_of:
            return ["leaf", self.leaf_of[id(leaf)]]
        if id(leaf) in self.tensor_names:
            return ["tensor", self.tensor_names[id(leaf)]]
        if isinstance(leaf, _CONSTANTS) and not any(leaf is item for item in self.seen.outputs):
            return ["constant", leaf]
        name = f"{type(leaf).__module__}.{type(leaf).__qualname__}"
        raise UnstorableError(f"the method returns a {name}; return tensors (use_cache=False?)")


def _spec_data(spec: pytree.TreeSpec) -> str:
    try:
        text = pytree.treespec_dumps(spec)
        if pytree.treespec_loads(text) == spec:
            return text
    except Exception as error:  # whatever the class's own functions raise
        raise UnstorableError(f"the structure {spec} cannot be stored: {error}") from error
    raise UnstorableError(f"the structure {spec} cannot be stored")


def _is_generated(code) -> bool:
    """Whether it follows from a class, as what `dataclass` writes, or from Python's version."""
    return "__create_fn__" in getattr(code, "co_qualname", "") or code.co_filename.startswith(
        "<frozen "
    )


def sources_of(code: list, methods: dict) -> dict[str, str]:
    """The files of traced code and their contents. Raises UnstorableError for code in no file."""
    found = {}
    for item in code:
        path = item.co_filename
        if os.path.isfile(path):
            if not fingerprint.is_of_torch(path):
                found[path] = fingerprint.of_file(path)
        elif item not in methods and not _is_generated(item):
            raise UnstorableError(f"the source of {item.co_name} is in no file")
    return found


def untagged(result):
    """What the method returns, its ints being plain again."""
    return pytree.tree_map(lambda leaf: int(leaf) if isinstance(leaf, _Tagged) else leaf, result)


def write(seen: Observer, call: Call, tensors: dict[str, torch.Tensor], result):
    """The document and the constants' elements of a trace. Raises UnstorableError."""
    return _Writer(seen, call, tensors).run(result)


class Entry:
    """A trace that was stored. Calls take no part of Dynamo's."""

    def __init__(self, document: dict[str, Any], elements: list[bytes], options: Options):
        plan = RunnerPlan.from_data(document, elements)
        self.runner = plan.runner(options.runner_options())
        self._inputs = document["inputs"]
        self._leaves = document["arguments"]["leaves"]
        self._spec = pytree.treespec_loads(document["arguments"]["spec"])
        self._results = document["results"]["leaves"]
        self._results_spec = pytree.treespec_loads(document["results"]["spec"])
        self._conditions = document["conditions"]
        self._modes = document["modes"]
        self._written = sorted({c[2] for c in document["calls"] if c[0] == "write_back"})
        self._places = None
        self._sizes: dict[tuple, list[int]] = {}  # of calls that fitted

    def bind(self, tensors: LiveTensors):
        """Binds the module's tensors by name. Raises KeyError."""
        names = {item[1] for item in [*self._inputs, *self._results] if item[0] == "tensor"}
        self._places = dict(zip(names, tensors.places(list(names)), strict=True))

    def mismatch(self, call: Call) -> str:
        """Why the trace is not for these arguments; empty where it is."""
        if call.spec != self._spec:
            return "the arguments have another structure"
        if modes() != self._modes:
            return f"it is for {self._modes}, now it is {modes()}"
        for i, (leaf, want) in enumerate(zip(call.leaves, self._leaves, strict=True)):
            is_tensor = isinstance(leaf, torch.Tensor)
            if is_tensor != (want[0] == "tensor"):
                return f"argument {i} is {'' if is_tensor else 'not '}a tensor"
            if want[0] == "constant" and (leaf != want[1] or type(leaf) is not type(want[1])):
                return f"argument {i} is {leaf!r}, expected {want[1]!r}"
            if want[0] == "text" and str(leaf) != want[1]:
                return f"argument {i} is {leaf}, expected {want[1]}"
            if want[0] == "size" and type(leaf) is not int:
                return f"argument {i} is {leaf!r}, expected an int"
            if is_tensor and call.leaves[want[5]] is not leaf:
                return f"argument {i} is not the same tensor as argument {want[5]}"
        tensors = [leaf for leaf in call.leaves if isinstance(leaf, torch.Tensor)]
        firsts = {want[5] for want in self._leaves if want[0] == "tensor"}
        if len({id(tensor) for tensor in tensors}) != len(firsts):
            return "two arguments are the same tensor"
        return self._size_mismatch(call) or self._overlap(call)

    def _key(self, call: Call) -> tuple:
        return tuple(
            (leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
            for leaf in call.leaves
        )

    def _size_mismatch(self, call: Call) -> str:
        key = self._key(call)
        if key in self._sizes:
            return ""
        symbols: dict[str, int] = {}
        checks = []  # expected, got, what
        for i, (leaf, want) in enumerate(zip(call.leaves, self._leaves, strict=True)):
            if want[0] == "size":
                checks.append((want[1], leaf, f"argument {i}"))
            if want[0] != "tensor":
                continue
            if [str(leaf.dtype), str(leaf.device)] != want[1:3] or leaf.dim() != len(want[3]):
                return f"argument {i} is {leaf.dtype} of {leaf.dim()} dims on {leaf.device}"
            sizes = zip(want[3], leaf.shape, strict=True)
            checks += [(size, got, f"argument {i}'s sizes") for size, got in sizes]
            strides = zip(want[4], leaf.stride(), leaf.shape, strict=True)
            checks += [(s, got, f"argument {i}'s strides") for s, got, size in strides if size > 1]
        for size, got, _ in checks:
            if isinstance(size, str) and size.isidentifier():
                symbols.setdefault(size, got)
        for size, got, what in checks:
            want = _evaluated(size, symbols)
            if want != got:
                return f"{what}: expected {size}, got {got}"
        for condition in self._conditions:
            if not evaluate(condition, symbols):
                return f"the sizes {symbols} do not meet {describe(condition)}"
        if len(self._sizes) == _KEPT_SIZES:
            self._sizes.clear()
        self._sizes[key] = [
            _evaluated(item[1], symbols) for item in self._inputs if item[0] == "size"
        ]
        return ""

    def _overlap(self, call: Call) -> str:
        """Where the graph writes to an argument no other may share its memory."""
        if not self._written:
            return ""
        storages = [
            tensor.untyped_storage().data_ptr()
            for tensor in self._tensors(call)
            if tensor is not None
        ]
        for index in self._written:
            written = self._tensors(call)[index].untyped_storage().data_ptr()
            if written and storages.count(written) > 1:
                return "an argument that is written to shares its memory"
        return ""

    def _tensors(self, call: Call) -> list:
        return [
            call.leaves[at] if kind == "leaf" else self._live(at) if kind == "tensor" else None
            for kind, at in self._inputs
        ]

    def _live(self, name: str) -> torch.Tensor:
        held, key = self._places[name]
        return held[key]

    def __call__(self, call: Call):
        """What the method returns; the arguments must fit."""
        sizes = iter(self._sizes[self._key(call)])
        given = [next(sizes) if item is None else item for item in self._tensors(call)]
        outputs = self.runner(given)
        leaves = []
        for kind, value in self._results:
            if kind == "output":
                leaves.append(outputs[value])
            elif kind == "leaf":
                leaves.append(call.leaves[value])
            else:
                leaves.append(self._live(value) if kind == "tensor" else value)
        return pytree.tree_unflatten(leaves, self._results_spec)
