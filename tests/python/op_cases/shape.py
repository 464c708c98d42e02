"""Cases of views, joins and other rearrangements."""

import torch

from .harness import DTYPES, STRIDES, Case, Maker, cases

VIEWS = {
    "aten.alias": [((2, 3), {}), ((), {}), ((0, 3), {})],
    "aten.as_strided": [
        ((4, 6), {"size": [2, 3], "stride": [6, 2], "storage_offset": 1}),
        ((12,), {"size": [3, 4, 2], "stride": [1, 2, 0]}),
        ((5,), {"size": [0, 2], "stride": [1, 1]}),
    ],
    "aten.detach": [((2, 3), {}), ((3, 0), {})],
    "aten.diagonal": [
        ((3, 4), {}),
        ((3, 4), {"offset": -1}),
        ((2, 3, 4), {"offset": 1, "dim1": 0, "dim2": 2}),
        ((0, 3), {}),
    ],
    "aten.expand": [
        ((2, 1, 3), {"size": [4, 2, 5, 3]}),
        ((1, 3), {"size": [2, -1]}),
        ((), {"size": [2, 3]}),
        ((1,), {"size": [0]}),
        ((0, 1), {"size": [2, 0, 3]}),
    ],
    "aten.flip": [
        ((2, 3, 4), {"dims": [0, -1]}),
        ((2, 3), {"dims": []}),
        ((3, 0), {"dims": [0]}),
        ((), {"dims": []}),
    ],
    "aten.permute": [
        ((2, 3, 4), {"dims": [2, 0, 1]}),
        ((2, 3), {"dims": [-1, 0]}),
        ((), {"dims": []}),
        ((2, 0), {"dims": [1, 0]}),
    ],
    "aten.repeat": [
        ((2, 3), {"repeats": [2, 1, 3]}),
        ((2, 3), {"repeats": [0, 2]}),
        ((), {"repeats": [4]}),
        ((2,), {"repeats": [3]}),
        ((0, 2), {"repeats": [3, 1]}),
    ],
    "aten.roll": [
        ((7,), {"shifts": [3], "dims": []}),
        ((2, 3), {"shifts": [1], "dims": []}),
        ((4, 5), {"shifts": [-1, 7], "dims": [0, 1]}),
        ((0, 3), {"shifts": [2], "dims": [0]}),
    ],
    "aten.select.int": [
        ((2, 3, 4), {"dim": 1, "index": -1}),
        ((2, 3), {"dim": -1, "index": 0}),
        ((4,), {"dim": 0, "index": 2}),
        ((0, 3), {"dim": 1, "index": 2}),
    ],
    "aten.slice.Tensor": [
        ((5, 6), {"dim": 1, "start": 1, "end": 5, "step": 2}),
        ((5, 6), {"dim": 0, "start": -2}),
        ((5, 6), {"dim": -1, "end": -3}),
        ((5,), {"start": 4, "end": 2}),
        ((5,), {"start": -9, "end": 99}),
        ((5,), {"end": 9223372036854775807, "step": 3}),
        ((0, 4), {"dim": 1, "start": 1, "step": 2}),
        ((0,), {"start": 1}),
    ],
    "aten.split.Tensor": [
        ((7, 2), {"split_size": 3}),
        ((2, 6), {"split_size": 2, "dim": -1}),
        ((0, 2), {"split_size": 2}),
    ],
    "aten.split_with_sizes": [
        ((7, 2), {"split_sizes": [3, 0, 4]}),
        ((2, 6), {"split_sizes": [1, 5], "dim": 1}),
        ((0, 3), {"split_sizes": [2, 1], "dim": 1}),
    ],
    "aten.squeeze": [((1, 2, 1, 3), {}), ((1,), {}), ((), {}), ((0, 1), {})],
    "aten.squeeze.dim": [
        ((1, 2, 1), {"dim": -1}),
        ((1, 2), {"dim": 1}),
        ((), {"dim": 0}),
        ((0, 1), {"dim": 0}),
    ],
    "aten.squeeze.dims": [
        ((1, 2, 1), {"dim": [0, -1]}),
        ((1, 2, 1), {"dim": [1]}),
        ((1, 0, 1), {"dim": [0, 1]}),
    ],
    "aten.t": [((2, 3), {}), ((4,), {}), ((), {}), ((0, 3), {})],
    "aten.transpose.int": [
        ((2, 3, 4), {"dim0": 0, "dim1": -1}),
        ((2, 3), {"dim0": 1, "dim1": 1}),
        ((), {"dim0": 0, "dim1": -1}),
        ((2, 0), {"dim0": 0, "dim1": 1}),
    ],
    "aten.tril": [
        ((4, 5), {}),
        ((2, 3, 3), {"diagonal": 1}),
        ((3, 4), {"diagonal": -2}),
        ((0, 3), {}),
    ],
    "aten.triu": [
        ((4, 5), {}),
        ((2, 3, 3), {"diagonal": 1}),
        ((3, 4), {"diagonal": -2}),
        ((0, 3), {}),
    ],
    "aten.unbind.int": [((3, 2), {}), ((2, 4), {"dim": -1}), ((2, 0), {})],
    "aten.unfold": [
        ((7, 2), {"dimension": 0, "size": 3, "step": 2}),
        ((2, 6), {"dimension": -1, "size": 2, "step": 3}),
        ((0, 4), {"dimension": 1, "size": 2, "step": 1}),
    ],
    "aten.unsqueeze": [
        ((2, 3), {"dim": 1}),
        ((2, 3), {"dim": -1}),
        ((), {"dim": 0}),
        ((0, 3), {"dim": -1}),
    ],
    "aten.view": [
        ((2, 3, 4), {"size": [6, -1]}),
        ((2, 3), {"size": [3, 2, 1]}),
        ((), {"size": [1, 1]}),
        ((0, 3), {"size": [3, 0]}),
    ],
    "aten.constant_pad_nd": [
        ((2, 3), {"pad": [1, 2], "value": 2}),
        ((2, 3, 4), {"pad": [0, 1, 2, 0]}),
        ((4, 5), {"pad": [-1, 2, 1, -2], "value": 1}),
        ((0, 2), {"pad": [1, 1, 1, 1]}),
    ],
}


def strided(make: Maker, name: str, shape, dtype):
    """The operand in every layout that the operator can have."""
    yield make(*shape, dtype=dtype)
    # PyTorch's as_strided addresses the storage; the engine's addresses a dense operand.
    if len(shape) > 0 and 0 not in shape and name != "aten.as_strided":
        for how in STRIDES:
            yield how(make(*shape, dtype=dtype))


@cases(*[name for name in VIEWS if name != "aten.view"])
def rearrange(name, make):
    """Every dtype, contiguous and not."""
    for dtype in DTYPES:
        for shape, attributes in VIEWS[name]:
            if dtype == torch.bool and "value" in attributes:
                attributes = {**attributes, "value": True}
            for self in strided(make, name, shape, dtype):
                yield Case({"self": self}, attributes)


@cases("aten.view", "aten._unsafe_view", "aten.reshape")
def reshape(name, make):
    """A logical reshape: what strides cannot express is copied."""

    def reference(self, **arguments):
        return self.reshape(*arguments.values())

    for dtype in DTYPES:
        for shape, attributes in VIEWS["aten.view"]:
            if name == "aten.reshape":
                attributes = {"shape": attributes["size"]}
            for self in strided(make, name, shape, dtype):
                yield Case({"self": self}, attributes, reference=reference)


@cases("aten.cat", "aten.stack")
def join(name, make):
    """One or several tensors, along every dim."""
    for dtype in DTYPES:
        for dim in (0, 1, -1):
            tensors = [make(2, 3, 4, dtype=dtype) for _ in range(3)]
            yield Case({"tensors": tensors}, {"dim": dim})
            yield Case({"tensors": [how(tensors[0]) for how in STRIDES]}, {"dim": dim})
        yield Case({"tensors": [make(2, 3, dtype=dtype)]})
        yield Case({"tensors": [make(0, 3, dtype=dtype), make(0, 3, dtype=dtype)]}, {"dim": 1})
    if name == "aten.cat":
        yield Case({"tensors": [make(2, 3), make(4, 3), make(0, 3)]})
        yield Case({"tensors": [make(0), make(4, 3)]}, {"dim": 1})
        yield Case({"tensors": [make(2), make(3, dtype=torch.int64)]})
        yield Case({"tensors": [make(2, dtype=torch.bfloat16), make(3)]})


@cases("aten.slice_scatter")
def slice_scatter(name, make):
    """Slices of every kind."""
    for dtype in DTYPES:
        self = make(5, 6, dtype=dtype)
        for attributes in [{"dim": 1, "start": 1, "end": 5, "step": 2}, {"start": -2}, {"end": 0}]:
            shape = torch.ops.aten.slice.Tensor(self, **attributes).shape
            for src in strided(make, name, shape, dtype):
                yield Case({"self": self, "src": src}, attributes)


@cases("aten.select_scatter")
def select_scatter(name, make):
    """Any dim, from either end."""
    for dtype in DTYPES:
        yield Case(
            {"self": make(3, 4, dtype=dtype), "src": make(3, dtype=dtype)}, {"dim": 1, "index": -2}
        )
        yield Case(
            {"self": make(3, 4, dtype=dtype), "src": make(4, dtype=dtype)}, {"dim": 0, "index": 1}
        )
        operands = {"self": make(2, 0, dtype=dtype), "src": make(0, dtype=dtype)}
        yield Case(operands, {"dim": 0, "index": 1})
