"""Conditions on sizes: from PyTorch's expressions to plain data, and their evaluation."""

import functools
import operator

import sympy
from torch.utils._sympy import functions
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.symbol import SymT, symbol_is_type

_UNBACKED = (SymT.UNBACKED_INT, SymT.UNBACKED_FLOAT)


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


_CLASSES = {
    "Add": sympy.Add,
    "Mul": sympy.Mul,
    "Pow": sympy.Pow,
    "PowByNatural": functions.PowByNatural,
    "FloorDiv": functions.FloorDiv,
    "CleanDiv": functions.CleanDiv,
    "Mod": functions.Mod,
    "PythonMod": functions.PythonMod,
    "ModularIndexing": functions.ModularIndexing,
    "Max": functions.Max,
    "Min": functions.Min,
    "Equality": sympy.Eq,
    "Unequality": sympy.Ne,
    "LessThan": sympy.Le,
    "GreaterThan": sympy.Ge,
    "StrictLessThan": sympy.Lt,
    "StrictGreaterThan": sympy.Gt,
    "And": sympy.And,
    "Or": sympy.Or,
    "Not": sympy.Not,
}


def decode(data, symbols: dict[str, sympy.Symbol]) -> sympy.Basic:
    """The expression that `encode` was given, over these symbols."""
    if isinstance(data, str):
        return symbols[data]
    if isinstance(data, list):
        return _CLASSES[data[0]](*[decode(item, symbols) for item in data[1:]])
    return sympy.sympify(data)


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
        found += _bounds(symbol, bounds)
    return [item for i, item in enumerate(found) if item not in found[:i]]


def _bounds(symbol: sympy.Symbol, bounds) -> list:
    found = []
    if bounds.lower.is_Integer:
        found.append(["GreaterThan", symbol.name, int(bounds.lower)])
    if bounds.upper.is_Integer and bounds.upper is not int_oo:
        found.append(["LessThan", symbol.name, int(bounds.upper)])
    return found


class Knowledge:
    """What PyTorch knew of sizes at one time, to tell what it found out later."""

    def __init__(self, shape_env):
        if any(symbol_is_type(symbol, _UNBACKED) for symbol in shape_env.var_to_range):
            raise UnstorableError("a size depends on data")
        self._shape_env = shape_env
        self._guards = len(shape_env.guards)
        self._ranges = dict(shape_env.var_to_range)
        self._replacements = dict(shape_env.replacements)
        self._asserts = dict(shape_env.deferred_runtime_asserts)

    def text(self) -> str:
        """All of it; symbols are named after the arguments that they are sizes of."""
        env = self._shape_env
        guards = [sympy.srepr(guard.expr) for guard in env.guards]
        ranges = [f"{symbol} {bounds}" for symbol, bounds in self._ranges.items()]
        same = [f"{symbol} {sympy.srepr(to)}" for symbol, to in self._replacements.items()]
        return "\n".join(map(repr, (env.settings, *map(sorted, (guards, ranges, same)))))

    def since(self, known: set[str]) -> list:
        """The conditions that tracing has added; UnstorableError where one cannot be stored."""
        env = self._shape_env
        if dict(env.deferred_runtime_asserts) != self._asserts:
            raise UnstorableError("sizes are checked at each call")
        expressions = [guard.expr for guard in env.guards[self._guards :]]
        for symbol, to in env.replacements.items():
            if self._replacements.get(symbol) != to:
                expressions.append(sympy.Eq(symbol, to))
        found = []
        for expression in expressions:
            if expression != sympy.true:
                _require_known(expression, known)
                found.append(encode(expression))
        for symbol, bounds in env.var_to_range.items():
            if self._ranges.get(symbol) != bounds:
                _require_known(symbol, known)
                found += _bounds(symbol, bounds)
        return [item for i, item in enumerate(found) if item not in found[:i]]


def _require_known(expression: sympy.Basic, known: set[str]):
    for symbol in expression.free_symbols:
        if symbol.name not in known:
            raise UnstorableError(f"the condition {expression} is about what no argument tells")
