"""Cases of the operators that make tensors."""

import torch

from .harness import DTYPES, INTEGERS, NUMBERS, SHAPES, Case, cases


@cases("aten.zeros", "aten.ones")
def constant(name, make):
    """Every dtype."""
    for dtype in [None, *DTYPES]:
        for shape in SHAPES:
            yield Case({}, {"size": list(shape), "dtype": dtype})


@cases("aten.zeros_like", "aten.ones_like")
def constant_like(name, make):
    """The operand's dtype, or another."""
    for dtype in [None, *DTYPES]:
        for shape in SHAPES:
            yield Case({"self": make(*shape, dtype=torch.int32)}, {"dtype": dtype})


@cases("aten.full")
def full(name, make):
    """The scalar's dtype, or another."""
    for value in [True, 3, 2.75, float("inf")]:
        yield Case({}, {"size": [2, 3], "fill_value": value})
    for value in [True, 3, 2.75, 0.5]:
        for dtype in DTYPES:
            yield Case({}, {"size": [2, 3], "fill_value": value, "dtype": dtype})
    for shape in SHAPES:
        yield Case({}, {"size": list(shape), "fill_value": 2**53 + 1})


@cases("aten.full_like")
def full_like(name, make):
    """The operand's dtype, or another."""
    for own in DTYPES:
        for dtype in [None, torch.float32, torch.int64, torch.bool]:
            yield Case({"self": make(2, 3, dtype=own)}, {"fill_value": 1.5, "dtype": dtype})
    for shape in SHAPES:
        yield Case({"self": make(*shape)}, {"fill_value": float("-inf")})


@cases("aten.scalar_tensor")
def scalar_tensor(name, make):
    """The default dtype, or another."""
    for value in [True, 3, 2.75]:
        for dtype in [None, *DTYPES]:
            yield Case({}, {"s": value, "dtype": dtype})


@cases("aten.arange", "aten.arange.start", "aten.arange.start_step")
def arange(name, make):
    """Integers and reals, up and down, nothing at all."""
    if name == "aten.arange":
        bounds = [{"end": end} for end in (0, 1, 7, 3.5, True)]
    elif name == "aten.arange.start":
        bounds = [{"start": start, "end": 6} for start in (0, 2, 6, 0.5, -3)]
    else:
        steps = [(0, 7, 2), (7, 0, -3), (3, 3, 1), (0, 1, 0.1), (0.5, 3.7, 1), (-1.0, 1.0, 0.25)]
        bounds = [dict(zip(("start", "end", "step"), values, strict=True)) for values in steps]
    for bound in bounds:
        for dtype in [None, *NUMBERS]:
            if dtype == torch.uint8 and min(bound.values()) < 0:
                continue
            if dtype in INTEGERS and abs(bound.get("step", 1)) < 1:
                continue
            yield Case({}, {**bound, "dtype": dtype})


def zeros_of(size, dtype=None, physical_layout=None):
    """What is uninitialised in PyTorch is zero in the engine."""
    return torch.zeros(size, dtype=dtype)


@cases("aten.empty.memory_format")
def empty(name, make):
    """Zeros, whatever the dtype."""
    for dtype in [None, *DTYPES]:
        yield Case({}, {"size": [2, 3], "dtype": dtype}, reference=zeros_of)


@cases("aten.empty_permuted")
def empty_permuted(name, make):
    """Zeros, whatever the order."""
    for order in ([0, 1], [1, 0]):
        yield Case({}, {"size": [2, 3], "physical_layout": order}, reference=zeros_of)


@cases("aten.empty_like")
def empty_like(name, make):
    """Zeros, whatever the operand."""
    for dtype in [None, *DTYPES]:

        def zeros_like(self, dtype):
            return torch.zeros_like(self, dtype=dtype)

        yield Case({"self": make(2, 3)}, {"dtype": dtype}, reference=zeros_like)
