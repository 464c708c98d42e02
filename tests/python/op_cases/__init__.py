"""Cases for every operator of the engine's table, by family."""

from . import create, elementwise, fused, lookup, matmul, reduce, shape  # noqa: F401
