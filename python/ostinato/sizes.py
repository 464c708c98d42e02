"""Sizes: from PyTorch's symbolic expressions to the engine's."""

import functools

import sympy
import torch
from torch.utils._sympy import functions

from ostinato._engine import Dim


class UnknownSizeError(Exception):
    """An expression that the engine's sizes cannot say."""


def _all(function):
    return lambda *args: functools.reduce(function, args)


_CALLS = {
    sympy.Add: _all(lambda a, b: a + b),
    sympy.Mul: _all(lambda a, b: a * b),
    sympy.Max: _all(Dim.max),
    sympy.Min: _all(Dim.min),
    functions.Max: _all(Dim.max),
    functions.Min: _all(Dim.min),
    functions.FloorDiv: lambda a, b: a // b,
    functions.CleanDiv: lambda a, b: a // b,
    functions.CeilToInt: lambda a: a,
    functions.Mod: lambda a, b: a % b,
    functions.PythonMod: lambda a, b: a % b,
    functions.ModularIndexing: lambda a, b, c: (a // b) % c,
}


def _convert(expression: sympy.Expr) -> Dim:
    if expression.is_Integer:
        return Dim(int(expression))
    if expression.is_Symbol:
        return Dim.symbol(expression.name)
    if isinstance(expression, (sympy.Pow, functions.PowByNatural)):
        base, power = expression.args
        if power.is_Integer and 0 < int(power) <= 4:
            return _all(lambda a, b: a * b)(*[_convert(base)] * int(power))
    elif type(expression) in _CALLS:
        return _CALLS[type(expression)](*map(_convert, expression.args))
    raise UnknownSizeError(f"the size {expression}")


def dim_of(size) -> Dim | int:
    """An int as it is; a SymInt as the engine's expression. Raises UnknownSizeError."""
    if isinstance(size, torch.SymInt):
        return _convert(size.node.expr)
    return size


def shape_of(sizes) -> list[Dim | int]:
    """The same of each."""
    return [dim_of(size) for size in sizes]


def hint_of(size) -> int:
    """The value at the time of tracing."""
    if isinstance(size, torch.SymInt):
        hint = size.node.hint
        return 2 if hint is None else int(hint)
    return size


def memory_order(tensor: torch.Tensor) -> list[int]:
    """The tensor's dims as they lie in memory, outermost first; empty where that is 0, 1, 2, …."""
    strides = [hint_of(stride) for stride in tensor.stride()]
    sizes = [hint_of(size) for size in tensor.shape]
    moved = [dim for dim in range(len(sizes)) if sizes[dim] != 1 and strides[dim] != 0]
    order = sorted(moved, key=lambda dim: -strides[dim])
    if order == moved:
        return []
    # Dims of size one and expanded ones keep their places.
    places = iter(order)
    return [next(places) if dim in moved else dim for dim in range(len(sizes))]
