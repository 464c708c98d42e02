"""Runs cases of one operator as one graph, and compares the results with PyTorch's."""

import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

TOLERANCES = json.loads((Path(__file__).parents[2] / "tolerances.json").read_text())
FLOATS = [torch.float32, torch.bfloat16, torch.float16]
INTEGERS = [torch.int64, torch.int32, torch.uint8]
NUMBERS = FLOATS + INTEGERS
DTYPES = [*NUMBERS, torch.bool]


@dataclass
class View:
    """An operand that the graph makes of an input by views, so that it is not contiguous."""

    base: torch.Tensor
    steps: list[tuple[str, dict]]

    def tensor(self) -> torch.Tensor:
        """The operand as PyTorch makes it."""
        value = self.base
        for op, attributes in self.steps:
            value = aten(op)(value, **attributes)
        return value


@dataclass
class State:
    """An operand that is a state of the graph: zeros at the beginning."""

    zeros: torch.Tensor


Operand = torch.Tensor | View | State | None | list


@dataclass
class Case:
    """One call: operands and attributes by their names in the operator's schema."""

    operands: dict[str, Operand]
    attributes: dict[str, object] = field(default_factory=dict)
    kind: str = "elementwise"  # the row of tolerances.json
    reference: Callable | None = None  # stands in for ATen where PyTorch lacks the operator
    ordered: bool = True  # whether ties leave no freedom: else indices are not compared


REGISTRY: dict[str, Callable] = {}


def cases(*names: str):
    """Registers a generator of an operator's cases: `f(name, maker)` yields `Case`s."""

    def register(function):
        for name in names:
            assert name not in REGISTRY, name
            REGISTRY[name] = function
        return function

    return register


def aten(name: str):
    """The overload of an operator by its name in graph text."""
    operator, _, overload = name.removeprefix("aten.").partition(".")
    return getattr(getattr(torch.ops.aten, operator), overload or "default")


def once(function: Callable) -> Callable:
    """The function computed in float32 and rounded once, where PyTorch rounds on the way."""

    def reference(**arguments):
        dtypes = {a.dtype for a in arguments.values() if isinstance(a, torch.Tensor)}
        wide = {
            name: value.float() if isinstance(value, torch.Tensor) else value
            for name, value in arguments.items()
        }
        return function(**wide).to(dtypes.pop())

    return reference


def contiguous(function: Callable) -> Callable:
    """The function of contiguous operands, where PyTorch refuses others or rounds on the way."""

    def reference(**arguments):
        return function(
            **{
                name: value.contiguous() if isinstance(value, torch.Tensor) else value
                for name, value in arguments.items()
            }
        )

    return reference


class Maker:
    """Seeded tensors."""

    def __init__(self, seed: str):
        self.generator = torch.Generator().manual_seed(sum(seed.encode()) * 7919)

    def __call__(self, *shape: int, dtype=torch.float32, low=-3.0, high=3.0) -> torch.Tensor:
        """Uniform values in [low, high)."""
        if dtype == torch.bool:
            return torch.randint(0, 2, shape, generator=self.generator).bool()
        if not dtype.is_floating_point:
            low = max(low, 0) if dtype == torch.uint8 else low
            return torch.randint(
                math.floor(low), math.ceil(high) + 1, shape, generator=self.generator
            ).to(dtype)
        return (torch.rand(shape, generator=self.generator) * (high - low) + low).to(dtype)

    def index(self, *shape: int, high: int, low=0, dtype=torch.int64) -> torch.Tensor:
        """Integers in [low, high)."""
        return torch.randint(low, high, shape, generator=self.generator).to(dtype)


def permuted(tensor: torch.Tensor) -> View:
    """The tensor with its dims stored in reverse."""
    order = list(range(tensor.dim()))[::-1]
    return View(tensor.permute(order).contiguous(), [("aten.permute", {"dims": order})])


def stepped(tensor: torch.Tensor) -> View:
    """The tensor as every other element of a longer one, from the second on."""
    base = tensor.repeat_interleave(2, dim=-1)
    steps = {"dim": -1, "start": 1, "end": 2 * tensor.shape[-1], "step": 2}
    return View(base, [("aten.slice.Tensor", steps)])


def expanded(tensor: torch.Tensor) -> View:
    """The first slice of the tensor, repeated along its first dim."""
    base = tensor[:1].contiguous()
    return View(base, [("aten.expand", {"size": list(tensor.shape)})])


STRIDES = [permuted, stepped, expanded]
SHAPES = [(), (0,), (1,), (7,), (2, 3, 4), (1, 5), (4, 0, 2)]


FEW_STRIDED = 40  # cases of one operator that `with_strides` makes


def cases_of(name: str) -> list[Case]:
    """The operator's cases; where none of them has strides, some again with strided operands."""
    made = list(REGISTRY[name](name, Maker(name)))
    # PyTorch's as_strided addresses the storage; the engine's addresses a dense operand.
    if name != "aten.as_strided" and not any(map(is_strided, made)):
        made += list(with_strides(made))
    return made


def flat(operands) -> list[Operand]:
    """All operands, those in lists too."""
    return [
        item
        for operand in operands
        for item in (operand if isinstance(operand, list) else [operand])
    ]


def is_strided(case: Case) -> bool:
    """Whether an operand is a view."""
    return any(isinstance(operand, View) for operand in flat(case.operands.values()))


def with_strides(made: list[Case]):
    """The cases with every dense operand that has dims replaced by a view of the same values."""

    def strided(operand):
        if isinstance(operand, list):
            return list(map(strided, operand))
        dense = isinstance(operand, torch.Tensor) and operand.dim() > 0 and operand.numel() > 0
        return (permuted if operand.dim() > 2 else stepped)(operand) if dense else operand

    for case in made[:: max(1, len(made) // FEW_STRIDED)]:
        operands = {key: strided(operand) for key, operand in case.operands.items()}
        again = replace(case, operands=operands)
        if is_strided(again):
            yield again


def value_of(operand: Operand):
    """The operand as PyTorch takes it."""
    if isinstance(operand, list):
        return [value_of(item) for item in operand]
    if isinstance(operand, State):
        return operand.zeros.clone()
    return operand.tensor() if isinstance(operand, View) else operand


def expected_of(name: str, case: Case) -> list[torch.Tensor]:
    """What PyTorch returns."""
    operands = {key: value_of(operand) for key, operand in case.operands.items()}
    results = (case.reference or aten(name))(**operands, **case.attributes)
    return list(results) if isinstance(results, (tuple, list)) else [results]


def type_text(tensor: torch.Tensor) -> str:
    """As in `float32(2, 3)`."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return f"{dtype}({', '.join(map(str, tensor.shape))})"


def attribute_text(value) -> str:
    """An attribute's value in graph text."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(attribute_text, value))}]"
    return repr(value)


def attributes_text(attributes: dict) -> str:
    """All attributes of a call in graph text."""
    text = ", ".join(f"{name}={attribute_text(value)}" for name, value in attributes.items())
    return f" {{{text}}}" if text else ""


class GraphText:
    """A graph that makes the calls of many cases, and the tensors that it takes."""

    def __init__(self, name: str):
        self.name = name
        self.inputs: dict[str, torch.Tensor] = {}
        self.header: list[str] = []
        self.states: list[str] = []
        self.body: list[str] = []
        self.footer: list[str] = []
        self.values = 0

    def value(self) -> str:
        """A new value's id."""
        self.values += 1
        return f"%{self.values}"

    def operand(self, operand: Operand) -> str:
        """The operand's id, after what makes it."""
        if operand is None:
            return "None"
        if isinstance(operand, list):
            return f"[{', '.join(self.operand(item) for item in operand)}]"
        if isinstance(operand, State):
            value = self.value()
            self.states.append(f'state {value} "state.{value}" : {type_text(operand.zeros)}')
            return value
        base = operand.base if isinstance(operand, View) else operand
        value, name = self.value(), f"input.{len(self.inputs)}"
        self.inputs[name] = base.contiguous().clone()
        self.header.append(f'input {value} "{name}" : {type_text(base)}')
        for op, attributes in operand.steps if isinstance(operand, View) else []:
            base = aten(op)(base, **attributes)
            result = self.value()
            self.body.append(
                f"{result} : {type_text(base)} = {op}({value}){attributes_text(attributes)}"
            )
            value = result
        return value

    def call(self, index: int, case: Case, expected: list[torch.Tensor]):
        """Adds a case; its results are the outputs `INDEX.RESULT`."""
        operands = ", ".join(self.operand(operand) for operand in case.operands.values())
        results = [self.value() for _ in expected]
        types = ", ".join(
            f"{value} : {type_text(tensor)}"
            for value, tensor in zip(results, expected, strict=True)
        )
        self.body.append(f"{types} = {self.name}({operands}){attributes_text(case.attributes)}")
        for result, value in enumerate(results):
            self.footer.append(f'output "{index}.{result}" {value}')

    def __str__(self):
        lines = [f'ostinato.graph 1 "{self.name}"', *self.header, *self.states]
        lines += [*self.body, *self.footer]
        return "\n".join(lines) + "\n"


def run_graph(command: Path, folder: Path, graph: GraphText) -> dict[str, torch.Tensor]:
    """The graph's outputs."""
    paths = [folder / "ops.graph", folder / "inputs.safetensors", folder / "outputs.safetensors"]
    paths[0].write_text(str(graph))
    save_file(graph.inputs, paths[1])
    arguments = ["run", paths[0], "--inputs", paths[1], "--mode", "reference", "--output", paths[2]]
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_file(paths[2])


def difference(case: Case, got: torch.Tensor, want: torch.Tensor) -> str:
    """How two tensors differ, or nothing."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"expected {type_text(want)}, got {type_text(got)}"
    row = TOLERANCES[case.kind].get(str(want.dtype).removeprefix("torch."), {})
    if not want.dtype.is_floating_point:
        wrong = got != want
        if not wrong.any():
            return ""
        return f"{type_text(want)}: expected {want[wrong][:4]}, got {got[wrong][:4]}"
    a, b = got.double(), want.double()
    close = torch.isclose(a, b, atol=row["atol"], rtol=row["rtol"], equal_nan=True)
    if close.all():
        return ""
    error = (a - b).abs()[~close].max()
    return (
        f"{type_text(want)}: max error {error:.3g}; "
        f"expected {want[~close][:4]}, got {got[~close][:4]}"
    )


def check(name: str, command: Path, folder: Path):
    """Every case of an operator against PyTorch."""
    made = cases_of(name)
    assert made
    graph = GraphText(name)
    wanted = []
    for index, case in enumerate(made):
        wanted.append(expected_of(name, case))
        graph.call(index, case, wanted[-1])
    outputs = run_graph(command, folder, graph)
    problems = []
    for index, (case, want) in enumerate(zip(made, wanted, strict=True)):
        for result, tensor in enumerate(want):
            if result == 1 and not case.ordered:
                continue
            text = difference(case, outputs[f"{index}.{result}"], tensor.contiguous())
            if text:
                types = {
                    key: type_text(value_of(operand))
                    for key, operand in case.operands.items()
                    if isinstance(operand, (torch.Tensor, View))
                }
                problems.append(f"{types} {case.attributes}, result {result}: {text}")
    assert not problems, f"{name}: {len(problems)} of {len(made)}\n" + "\n".join(problems[:12])
