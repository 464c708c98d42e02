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


def symbol_name(symbol: sympy.Symbol, shape_env) -> str:
    """The engine's name of a symbol: where it may be less than one it begins with `_`."""
    known = shape_env.var_to_range.get(symbol)
    return symbol.name if known is not None and known.lower >= 1 else f"_{symbol.name}"


def symbols_of(size) -> set[str]:
    """The names of the symbols in a size."""
    if not isinstance(size, torch.SymInt):
        return set()
    node = size.node
    return {symbol_name(symbol, node.shape_env) for symbol in node.expr.free_symbols}


def bare_symbol(size) -> str | None:
    """The name, where a size is nothing but a symbol."""
    if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
        return symbol_name(size.node.expr, size.node.shape_env)
    return None


def _convert(expression: sympy.Expr, shape_env) -> Dim:
    if expression.is_Integer:
        return Dim(int(expression))
    if expression.is_Symbol:
        return Dim.symbol(symbol_name(expression, shape_env))
    if isinstance(expression, (sympy.Pow, functions.PowByNatural)):
        base, power = expression.args
        if power.is_Integer and 0 < int(power) <= 4:
            return _all(lambda a, b: a * b)(*[_convert(base, shape_env)] * int(power))
    elif type(expression) in _CALLS:
        converted = [_convert(argument, shape_env) for argument in expression.args]
        return _CALLS[type(expression)](*converted)
    raise UnknownSizeError(f"the size {expression}")


def dim_of(size) -> Dim | int:
    """An int as it is; a SymInt as the engine's expression. Raises UnknownSizeError."""
    if isinstance(size, torch.SymInt):
        return _convert(size.node.expr, size.node.shape_env)
    return size


def shape_of(sizes) -> list[Dim | int]:
    """The same of each."""
    return [dim_of(size) for size in sizes]


def hint_of(size) -> int:
    """The value at the time of tracing; where data decides, one that the sizes might have."""
    if not isinstance(size, torch.SymInt):
        return size
    if size.node.hint is not None:
        return int(size.node.hint)
    env, expression = size.node.shape_env, size.node.expr
    older = not hasattr(env, "backed_var_to_val")
    known = env.var_to_val if older else env.backed_var_to_val
    return int(expression.xreplace({s: known.get(s, 2) for s in expression.free_symbols}))


def shares_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are views of one storage."""
    return a.untyped_storage()._cdata == b.untyped_storage()._cdata


def fills_memory(tensor: torch.Tensor) -> bool:
    """Whether the tensor has all elements of its storage in row-major order, whatever its sizes."""

    def expression(size):
        return size.node.expr if isinstance(size, torch.SymInt) else sympy.Integer(size)

    extent = sympy.Integer(1)
    for size, stride in list(zip(tensor.shape, tensor.stride(), strict=True))[::-1]:
        if expression(size) != 1 and sympy.expand(expression(stride) - extent) != 0:
            return False
        extent *= expression(size)
    rest = expression(tensor.untyped_storage().nbytes()) - extent * tensor.element_size()
    return sympy.expand(rest) == 0 and expression(tensor.storage_offset()) == 0


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
