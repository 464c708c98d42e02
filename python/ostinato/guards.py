"""Conditions on sizes: from PyTorch's expressions to plain data, and their evaluation."""

import functools
import operator

import sympy
from torch.utils._sympy.numbers import int_oo


class UnstorableError(Exception):
    """Why a result cannot be stored."""


def _fold(function):
    return lambda *values: functools.reduce(function, values)


_FUNCTIONS = {
    "Add": _fold(operator.add),
    "Mul": _fold(operator.mul),
    "Pow": operator.pow,
    "PowByNatural": operator.pow,
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "Mod": operator.mod,
    "PythonMod": operator.mod,
    "ModularIndexing": lambda a, b, c: (a // b) % c,
    "Max": max,
    "Min": min,
    "Equality": operator.eq,
    "Unequality": operator.ne,
    "LessThan": operator.le,
    "GreaterThan": operator.ge,
    "StrictLessThan": operator.lt,
    "StrictGreaterThan": operator.gt,
    "And": lambda *values: all(values),
    "Or": lambda *values: any(values),
    "Not": operator.not_,
}


def encode(expression: sympy.Basic):
    """As nested lists: a function's name and its operands. Raises UnstorableError."""
    if expression in (sympy.true, sympy.false):
        return bool(expression)
    if isinstance(expression, sympy.Symbol):
        return expression.name
    if isinstance(expression, sympy.Integer):
        return int(expression)
    name = type(expression).__name__
    if name not in _FUNCTIONS:
        raise UnstorableError(f"the condition {expression} cannot be stored")
    return [name, *map(encode, expression.args)]


def evaluate(data, symbols: dict[str, int]):
    """The value of what `encode` gave, where the symbols have these values."""
    if isinstance(data, str):
        return symbols[data]
    if isinstance(data, list):
        return _FUNCTIONS[data[0]](*[evaluate(item, symbols) for item in data[1:]])
    return data


def describe(data) -> str:
    """The same for people."""
    if isinstance(data, list):
        return f"{data[0]}({', '.join(map(describe, data[1:]))})"
    return str(data)


def conditions_of(shape_env, known: set[str]) -> list:
    """The conditions under which a trace holds, beside the shapes themselves.

    Raises UnstorableError for one about something else than the known symbols.
    """
    found = []
    for guard in shape_env.guards:
        expression = shape_env.replace(guard.expr)
        if expression != sympy.true:
            _require_known(expression, known)
            found.append(encode(expression))
    for symbol, bounds in shape_env.var_to_range.items():
        expression = shape_env.replace(symbol)
        if isinstance(expression, sympy.Integer) or symbol.name not in known:
            continue
        if bounds.lower.is_Integer:
            found.append(["GreaterThan", symbol.name, int(bounds.lower)])
        if bounds.upper.is_Integer and bounds.upper is not int_oo:
            found.append(["LessThan", symbol.name, int(bounds.upper)])
    return [item for i, item in enumerate(found) if item not in found[:i]]


def _require_known(expression: sympy.Basic, known: set[str]):
    for symbol in expression.free_symbols:
        if symbol.name not in known:
            raise UnstorableError(f"the condition {expression} is about what no argument tells")
