"""Cases of reductions, scans and sorts."""

from dataclasses import replace

import torch

from .harness import DTYPES, FLOATS, INTEGERS, NUMBERS, STRIDES, Case, Maker, aten, cases, once

LARGE = torch.tensor([[2**62, 2**53 + 1, -(2**53) - 1], [2**24 + 1, 7, -7]])
NANS = torch.tensor([[1.0, float("nan"), 3.0], [2.0, float("inf"), 3.0], [3.0, 3.0, 1.0]])


def operands(make: Maker, dtypes, low=-3.0, high=3.0, empty=True):
    """Shapes of every kind, contiguous and not."""
    for dtype in dtypes:
        for shape in [(), (1,), (7,), (2, 3, 4), (1, 5)]:
            yield make(*shape, dtype=dtype, low=low, high=high)
        for strided in STRIDES:
            yield strided(make(3, 4, 5, dtype=dtype, low=low, high=high))
        if empty:
            yield make(0, dtype=dtype)
            yield make(3, 0, 2, dtype=dtype)


def rank_of(operand) -> int:
    """Of a tensor or a view."""
    return (operand if isinstance(operand, torch.Tensor) else operand.tensor()).dim()


def shape_of(operand):
    """Of a tensor or a view."""
    return (operand if isinstance(operand, torch.Tensor) else operand.tensor()).shape


def dim_lists(rank: int):
    """None, none, one, the last, all, some."""
    lists = [None, []]
    if rank > 0:
        lists += [[0], [-1], list(range(rank))]
    if rank > 2:
        lists += [[0, 2], [-2, 0]]
    return lists


def over_lists(tensors, attributes=None, needs_elements=False):
    """Every list of dims, kept and not."""
    for tensor in tensors:
        shape = shape_of(tensor)
        for dims in dim_lists(len(shape)):
            reduced = dims or range(len(shape))
            if needs_elements and any(shape[dim] == 0 for dim in reduced):
                continue
            for keepdim in (False, True):
                yield Case(
                    {"self": tensor},
                    {"dim": dims, "keepdim": keepdim, **(attributes or {})},
                    "reduction",
                )


def over_dims(tensors, attributes=None, needs_elements=False, keepdims=(False, True)):
    """Every single dim, kept and not."""
    for tensor in tensors:
        shape = shape_of(tensor)
        for dim in range(-1, max(len(shape), 1)):
            if needs_elements and shape and shape[dim] == 0:
                continue
            for keepdim in keepdims:
                chosen = {} if keepdim is None else {"keepdim": keepdim}
                yield Case(
                    {"self": tensor}, {"dim": dim, **chosen, **(attributes or {})}, "reduction"
                )


@cases("aten.sum.dim_IntList")
def sums(name, make):
    """All dtypes, and a dtype that is asked for."""
    yield from over_lists(operands(make, DTYPES))
    yield from over_lists([LARGE, make(2, 3, dtype=torch.int32)], {"dtype": torch.int32})
    yield from over_lists(operands(make, FLOATS), {"dtype": torch.float32})
    yield from over_lists([make(2, 3)], {"dtype": torch.int64})
    yield from over_lists([make(2, 3)], {"dtype": torch.bool})
    yield from over_lists([make(40, 50)])


@cases("aten.sum", "aten.prod")
def whole(name, make):
    """Of everything."""
    for tensor in operands(make, FLOATS, low=0.5, high=1.5):
        yield Case({"self": tensor}, {}, "reduction", once(aten(name)))
    for tensor in operands(make, DTYPES, low=0.5, high=1.5):
        yield Case({"self": tensor}, {"dtype": torch.float32}, "reduction")
    for tensor in [*operands(make, [*INTEGERS, torch.bool]), LARGE]:
        yield Case({"self": tensor})


@cases("aten.prod.dim_int")
def products(name, make):
    """All dtypes."""
    yield from over_dims(operands(make, DTYPES, low=0.5, high=1.5))
    yield from over_dims([LARGE])


@cases("aten.mean")
def mean(name, make):
    """Floats, or integers with a dtype."""
    for tensor in operands(make, FLOATS):
        yield Case({"self": tensor}, {}, "reduction")
    for tensor in operands(make, INTEGERS):
        yield Case({"self": tensor}, {"dtype": torch.float32}, "reduction")


@cases("aten.mean.dim")
def means(name, make):
    """Floats, or integers with a dtype."""
    yield from over_lists(operands(make, FLOATS))
    yield from over_lists(operands(make, INTEGERS), {"dtype": torch.float32})


@cases("aten.var.correction", "aten.std.correction", "aten.var_mean.correction")
def variance(name, make):
    """Corrections of every kind."""
    for correction in [None, 0, 0.5, 3]:
        tensors = list(operands(make, FLOATS))
        if correction == 3:  # equal elements would be 0/0, and so left to rounding
            tensors = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
        yield from over_lists(tensors, {"correction": correction})


@cases("aten.var.dim")
def variance_of_dims(name, make):
    """Biased and not."""
    for unbiased in (False, True):
        yield from over_lists(operands(make, FLOATS), {"unbiased": unbiased})


@cases("aten.amax", "aten.amin")
def extrema(name, make):
    """All dtypes, NaN, large integers."""
    tensors = [*operands(make, DTYPES), LARGE, NANS]
    for case in over_lists(tensors, needs_elements=True):
        if case.attributes["dim"] is not None:
            yield case


@cases("aten.max", "aten.min")
def extremum(name, make):
    """Of everything."""
    for tensor in [*operands(make, DTYPES, empty=False), LARGE, NANS]:
        yield Case({"self": tensor})


@cases("aten.max.dim", "aten.min.dim")
def extrema_with_indices(name, make):
    """The first of equals."""
    tensors = [*operands(make, DTYPES), LARGE, NANS, torch.tensor([[1, 3, 3], [2, 2, 1]])]
    yield from over_dims(tensors, needs_elements=True)


@cases("aten.argmax", "aten.argmin")
def arg_extrema(name, make):
    """Of one dim, and of all."""
    tensors = [*operands(make, NUMBERS), LARGE, NANS, torch.tensor([[1, 3, 3], [2, 2, 1]])]
    yield from over_dims(tensors, needs_elements=True)
    for tensor in tensors:
        if shape_of(tensor).numel() > 0:
            yield Case({"self": tensor}, {"dim": None, "keepdim": rank_of(tensor) > 1})


@cases("aten.any", "aten.all")
def any_all(name, make):
    """Of everything."""
    for tensor in [*operands(make, DTYPES, low=0, high=1), NANS, torch.ones(3), torch.zeros(3)]:
        yield Case({"self": tensor})


@cases("aten.any.dim", "aten.all.dim")
def any_all_dim(name, make):
    """Of one dim."""
    yield from over_dims([*operands(make, DTYPES, low=0, high=1), NANS])


@cases("aten.any.dims", "aten.all.dims")
def any_all_dims(name, make):
    """Of several dims; of none they only convert."""
    yield from over_lists(operands(make, DTYPES, low=0, high=1))


@cases("aten.linalg_vector_norm")
def norms(name, make):
    """Every kind of order."""
    inf = float("inf")
    for order in [0, 1, 2, 3, 0.5, 2.5, -1, inf, -inf]:
        undefined = order in (inf, -inf, -1)
        yield from over_lists(
            [*operands(make, FLOATS, low=0.5, high=3, empty=False), make(0, 3), NANS],
            {"ord": order},
            needs_elements=undefined,
        )
    yield from over_lists([make(2, 3, dtype=torch.bfloat16)], {"dtype": torch.float32})


@cases("aten.histc")
def histogram(name, make):
    """Given ranges, and those of the values."""
    for dtype in FLOATS:
        yield Case({"self": make(50, dtype=dtype)}, {"bins": 5, "min": -2, "max": 2})
        yield Case({"self": make(4, 9, dtype=dtype)}, {"bins": 7})
        yield Case({"self": torch.ones(4, dtype=dtype)}, {"bins": 4})
        yield Case({"self": torch.zeros(0, dtype=dtype)}, {"bins": 4})
        yield Case({"self": make(1, dtype=dtype)})
        experts = make.index(64, high=8).to(dtype)
        yield Case({"self": experts}, {"bins": 8, "min": 0, "max": 7})
    yield Case({"self": torch.tensor([float("nan"), 1.0, 9.0])}, {"bins": 4, "min": 0, "max": 3})


@cases("aten.cumsum", "aten.cumprod")
def scans(name, make):
    """All dtypes, and a dtype that is asked for."""
    tensors = list(operands(make, DTYPES, low=0.5, high=1.5))
    yield from over_dims([*tensors, LARGE], keepdims=(None,))
    yield from over_dims([LARGE], {"dtype": torch.int32}, keepdims=(None,))
    yield from over_dims([make(2, 3)], {"dtype": torch.int64}, keepdims=(None,))
    yield from over_dims(
        [make(2, 3, dtype=torch.bfloat16)], {"dtype": torch.float32}, keepdims=(None,)
    )


@cases("aten.sort", "aten.sort.stable", "aten.argsort", "aten.argsort.stable")
def sorts(name, make):
    """Both orders, with ties and NaN. Every sort of the engine is stable."""
    overload = name if name.endswith("stable") else f"{name}.stable"

    def stable(**arguments):
        return aten(overload)(**{"stable": True, **arguments})

    for descending in (False, True):
        attributes = {"descending": descending}
        if name == overload:
            attributes = {"stable": True, **attributes}
        tensors = [*operands(make, DTYPES), LARGE, NANS, make(40, dtype=torch.int64)]
        for case in over_dims(tensors, attributes, keepdims=(None,)):
            yield replace(case, reference=stable)


@cases("aten.topk")
def topk(name, make):
    """Both ends; which of equals is chosen is left open."""
    for largest in (False, True):
        for tensor in [*operands(make, NUMBERS, empty=False), LARGE, NANS]:
            shape = shape_of(tensor)
            for dim in range(-1, len(shape)):
                for k in {1, (shape[dim] if shape else 1), 0}:
                    attributes = {"k": k, "dim": dim, "largest": largest, "sorted": True}
                    yield Case({"self": tensor}, attributes, ordered=False)
    for dtype in NUMBERS:
        yield Case({"self": make(3, 0, dtype=dtype)}, {"k": 0, "dim": 1})
        yield Case({"self": make(0, 3, dtype=dtype)}, {"k": 2, "dim": 1})
    distinct = torch.randperm(60, generator=make.generator).float().reshape(6, 10)
    yield Case({"self": distinct}, {"k": 4})
    yield Case({"self": distinct}, {"k": 3, "dim": 0, "largest": False})
