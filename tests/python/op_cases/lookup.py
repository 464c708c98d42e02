"""Cases of indexing, gathering and scattering."""

import torch

from .harness import DTYPES, FLOATS, NUMBERS, STRIDES, Case, cases, stepped


@cases("aten.embedding")
def embedding(name, make):
    """Rows of a table."""
    for dtype in FLOATS:
        for shape in [(2, 3), (), (0,), (1, 1, 4)]:
            for index in (torch.int64, torch.int32):
                indices = make.index(*shape, high=7, dtype=index)
                yield Case({"weight": make(7, 5, dtype=dtype), "indices": indices})
        for how in STRIDES:
            indices = make.index(4, 3, high=6)
            yield Case({"weight": how(make(6, 4, dtype=dtype)), "indices": how(indices)})


@cases("aten.index_select")
def index_select(name, make):
    """Any dim."""
    for dtype in DTYPES:
        for dim in (0, 1, -1):
            self = make(3, 4, 5, dtype=dtype)
            yield Case({"self": self, "index": make.index(6, high=3)}, {"dim": dim})
            for how in STRIDES:
                yield Case({"self": how(self), "index": make.index(2, high=3)}, {"dim": dim})
        yield Case({"self": make(4, dtype=dtype), "index": make.index(0, high=3)}, {"dim": 0})


@cases("aten.gather")
def gather(name, make):
    """An index smaller than the operand, in any layout."""
    for dtype in DTYPES:
        for dim in (0, 1, -1):
            self = make(4, 4, 5, dtype=dtype)
            index = make.index(3, 4, 2, high=4)
            yield Case({"self": self, "index": index}, {"dim": dim})
            for how in STRIDES:
                yield Case({"self": how(self), "index": how(index)}, {"dim": dim})
        index = torch.zeros(0, dtype=torch.int64)
        yield Case({"self": make(3, dtype=dtype), "index": index}, {"dim": 0})


@cases("aten.scatter.src", "aten.scatter_add", "aten.scatter.value")
def scatter(name, make):
    """Without two values for one place, whose order PyTorch leaves open; sums may meet."""
    for dtype in NUMBERS if name == "aten.scatter_add" else DTYPES:
        value = {"value": 1} if name == "aten.scatter.value" else {}
        empty = {"self": make(3, 4, dtype=dtype), "index": torch.zeros(0, 4, dtype=torch.int64)}
        if not value:
            empty["src"] = make(0, 4, dtype=dtype)
        yield Case(empty, {"dim": 0, **value})
        for dim in (0, 1):
            self = make(4, 4, dtype=dtype)
            order = torch.rand(3, 3, generator=make.generator).argsort(dim)
            if name == "aten.scatter.value":
                for value in (1, 2.5, True):
                    yield Case({"self": self, "index": order}, {"dim": dim, "value": value})
                continue
            src = make(4, 3, dtype=dtype)
            operands = {"self": self, "index": order, "src": src}
            yield Case(operands, {"dim": dim})
            yield Case({**operands, "self": stepped(self), "src": stepped(src)}, {"dim": dim})
            if name == "aten.scatter_add" and dtype not in (torch.bfloat16, torch.float16):
                index = make.index(4, 3, high=4)
                yield Case({**operands, "index": index}, {"dim": dim}, "reduction")


@cases("aten.scatter_reduce.two")
def scatter_reduce(name, make):
    """Several values for one place, one, and none; PyTorch rounds sums of half precision often."""
    for dtype in NUMBERS:
        for reduce in ("sum", "prod", "mean", "amax", "amin"):
            if dtype in (torch.bfloat16, torch.float16) and reduce in ("sum", "prod", "mean"):
                continue
            for include_self in (True, False):
                attributes = {"reduce": reduce, "include_self": include_self}
                for dim in (0, 1):
                    self, src = make(4, 5, dtype=dtype), make(3, 6, dtype=dtype)
                    operands = {"self": self, "index": make.index(3, 4, high=4), "src": src}
                    yield Case(operands, {"dim": dim, **attributes}, "reduction")
                    strided = {**operands, "self": stepped(self), "src": stepped(src)}
                    yield Case(strided, {"dim": dim, **attributes}, "reduction")
                nothing = {"index": torch.zeros(0, dtype=torch.int64), "src": make(0, dtype=dtype)}
                yield Case({"self": make(3, dtype=dtype), **nothing}, {"dim": 0, **attributes})
    source = torch.tensor([1.0, float("nan"), 2.0])
    operands = {"self": make(2), "index": torch.tensor([0, 0, 1]), "src": source}
    for reduce in ("amax", "amin"):
        yield Case(operands, {"dim": 0, "reduce": reduce})


def index_lists(make):
    """Lists of index tensors for an operand of shape (4, 5, 6)."""
    first, second = make.index(3, high=4), make.index(2, 1, high=5)
    yield [first]
    yield [first, second]
    yield [None, second]
    yield [None, None, first]
    yield [first, None, second]  # not adjacent: the indexed dims go to the front
    yield [None, first, second]
    yield [make.index(2, 3, high=4, low=-4)]
    yield [make.index(3, high=4, dtype=torch.int32)]
    yield [torch.zeros(0, dtype=torch.int64)]
    yield [torch.tensor(2)]


@cases("aten.index.Tensor")
def index(name, make):
    """Every pattern of indices."""
    for dtype in DTYPES:
        for indices in index_lists(make):
            self = make(4, 5, 6, dtype=dtype)
            yield Case({"self": self, "indices": indices})
            yield Case({"self": stepped(self), "indices": indices})


@cases("aten.index_put")
def index_put(name, make):
    """Values that are broadcast, assigned and added."""
    for dtype in NUMBERS:
        nothing = {
            "indices": [torch.zeros(0, dtype=torch.int64)],
            "values": make(0, 3, dtype=dtype),
        }
        yield Case({"self": make(2, 3, dtype=dtype), **nothing}, {"accumulate": False})
        self = make(4, 5, 6, dtype=dtype)
        order = torch.randperm(4, generator=make.generator)[:3]
        columns = torch.randperm(5, generator=make.generator)[:3]
        for indices in [[order], [order, columns], [None, columns], [order, None, columns]]:
            shape = torch.ops.aten.index.Tensor(self, indices).shape
            for accumulate in (False, True):
                for value in (make(*shape, dtype=dtype), make(dtype=dtype)):
                    operands = {"self": self, "indices": indices, "values": value}
                    yield Case(operands, {"accumulate": accumulate})
    twice = torch.tensor([1, 1, 0])
    operands = {"self": make(4, 5), "indices": [twice], "values": make(3, 5)}
    yield Case(operands, {"accumulate": True}, "reduction")


@cases("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(name, make):
    """Masks that are broadcast."""
    for dtype in DTYPES:
        sizes = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 4), (3, 1)), ((3, 4), ()), ((0, 4), (4,))]
        for size, shape in sizes:
            operands = {"self": make(*size, dtype=dtype), "mask": make(*shape, dtype=torch.bool)}
            if name == "aten.masked_fill.Tensor":
                yield Case({**operands, "value": torch.tensor(1)})
            else:
                yield Case(operands, {"value": 1})
        if dtype.is_floating_point and name == "aten.masked_fill.Scalar":
            for how in STRIDES:
                yield Case(
                    {"self": how(make(3, 4, dtype=dtype)), "mask": make(4, dtype=torch.bool)},
                    {"value": float("-inf")},
                )


@cases("aten.masked_scatter")
def masked_scatter(name, make):
    """The mask takes the source's elements one after the other."""
    for dtype in DTYPES:
        for shape in [(3, 4), (4,), (3, 1)]:
            mask = make(*shape, dtype=torch.bool)
            source = make(20, dtype=dtype)
            yield Case({"self": make(3, 4, dtype=dtype), "mask": mask, "source": source})
        empty = {"self": make(0, 4, dtype=dtype), "mask": make(4, dtype=torch.bool)}
        yield Case({**empty, "source": make(0, dtype=dtype)})
        self = stepped(make(3, 4, dtype=dtype))
        yield Case(
            {"self": self, "mask": make(3, 4, dtype=torch.bool), "source": make(12, dtype=dtype)}
        )
