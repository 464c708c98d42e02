"""Cases of products, convolutions, pools and norms."""

import itertools
import math

import torch

from .harness import FLOATS, STRIDES, Case, aten, cases, contiguous, once, permuted, stepped

SIZES = [(2, 3, 4), (1, 1, 1), (5, 0, 3), (0, 2, 3), (3, 17, 9), (1, 64, 33)]


@cases("aten.mm", "aten.addmm", "aten.linear")
def products(name, make):
    """Matrices, contiguous and transposed."""
    for dtype in FLOATS:
        for m, k, n in SIZES:
            a, b = make(m, k, dtype=dtype, low=-1, high=1), make(k, n, dtype=dtype, low=-1, high=1)
            for first, second in [(a, b), (permuted(a), permuted(b)), (stepped(a), stepped(b))]:
                if name == "aten.mm":
                    yield Case({"self": first, "mat2": second}, {}, "matmul")
                elif name == "aten.addmm":
                    for bias in (make(n, dtype=dtype), make(m, n, dtype=dtype)):
                        operands = {"self": bias, "mat1": first, "mat2": second}
                        yield Case(operands, {}, "matmul")
                        yield Case(operands, {"beta": 0.5, "alpha": 2}, "matmul")
                else:
                    weight = make(n, k, dtype=dtype, low=-1, high=1)
                    for bias in (None, make(n, dtype=dtype)):
                        operands = {"input": first, "weight": weight, "bias": bias}
                        yield Case(operands, {}, "matmul")
        if name == "aten.linear":
            operands = {"input": make(2, 3, 4, dtype=dtype), "weight": make(5, 4, dtype=dtype)}
            yield Case({**operands, "bias": None}, {}, "matmul")


@cases("aten.bmm", "aten.baddbmm")
def batched(name, make):
    """Batches, contiguous and not."""
    for dtype in FLOATS:
        for m, k, n in SIZES:
            a = make(2, m, k, dtype=dtype, low=-1, high=1)
            b = make(2, k, n, dtype=dtype, low=-1, high=1)
            for how in [lambda tensor: tensor, *STRIDES]:
                if name == "aten.bmm":
                    yield Case({"self": how(a), "mat2": how(b)}, {}, "matmul")
                    continue
                operands = {"self": make(2, m, n, dtype=dtype), "batch1": how(a), "batch2": how(b)}
                yield Case(operands, {}, "matmul")
                yield Case(operands, {"beta": 2, "alpha": 0.5}, "matmul")


@cases("aten.matmul", "aten.mv", "aten.dot")
def vectors(name, make):
    """Every rank."""
    shapes = {
        "aten.matmul": [
            ((4,), (4,)),
            ((3, 4), (4,)),
            ((4,), (4, 2)),
            ((3, 4), (4, 2)),
            ((2, 3, 4), (4, 5)),
            ((2, 1, 3, 4), (5, 4, 2)),
            ((2, 3, 4), (4,)),
            ((2, 0), (0, 3)),
            ((0, 2, 3), (3, 4)),
        ],
        "aten.mv": [((3, 4), (4,)), ((2, 0), (0,))],
        "aten.dot": [((5,), (5,)), ((0,), (0,))],
    }[name]
    other = {"aten.matmul": "other", "aten.mv": "vec", "aten.dot": "tensor"}[name]
    for dtype in FLOATS:
        for first, second in shapes:
            operands = {"self": make(*first, dtype=dtype, low=-1, high=1)}
            operands[other] = make(*second, dtype=dtype, low=-1, high=1)
            yield Case(operands, {}, "matmul")


@cases("aten.linalg_solve_triangular")
def solve_triangular(name, make):
    """Either triangle and side, broadcast batches; PyTorch has it in float32 alone."""
    shapes = [((3, 3), (3, 4)), ((2, 1, 5, 5), (3, 5, 2)), ((0, 3, 3), (3, 1)), ((3, 3), (3, 0))]
    for a, b in shapes:
        for upper, left, unit in itertools.product((False, True), repeat=3):
            attributes = {"upper": upper, "left": left, "unitriangular": unit}
            self = make(*a) + 4 * torch.eye(a[-1])
            other = make(*(b if left else (*b[:-2], b[-1], b[-2])))
            for how in [lambda tensor: tensor, permuted] if self.numel() * other.numel() else []:
                yield Case({"self": how(self), "B": how(other)}, attributes, "matmul")
            yield Case({"self": self, "B": other}, attributes, "matmul")


CONVOLUTIONS = [
    # input, weight, stride, padding, dilation, transposed, output padding, groups
    ((2, 3, 8, 9), (4, 3, 3, 3), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    ((1, 3, 8, 8), (4, 3, 4, 4), [4, 4], [0, 0], [1, 1], False, [0, 0], 1),
    ((1, 4, 7, 7), (6, 2, 3, 2), [2, 1], [1, 2], [1, 2], False, [0, 0], 2),
    ((2, 4, 5, 5), (4, 1, 3, 3), [1, 1], [1, 1], [1, 1], False, [0, 0], 4),
    ((2, 3, 10), (5, 3, 3), [2], [1], [1], False, [0], 1),
    ((1, 2, 5, 5, 5), (3, 2, 2, 2, 2), [1, 1, 1], [0, 0, 0], [1, 1, 1], False, [0, 0, 0], 1),
    ((1, 4, 5, 5), (4, 3, 3, 3), [2, 2], [1, 1], [1, 1], True, [1, 1], 1),
    ((1, 4, 5), (4, 2, 3), [2], [0], [1], True, [0], 2),
]


@cases("aten.convolution")
def convolution(name, make):
    """One to three dims, strides, dilation, groups, transposed."""
    for dtype in FLOATS:
        for x, w, stride, padding, dilation, transposed, output_padding, groups in CONVOLUTIONS:
            channels = w[1] * groups if transposed else w[0]
            attributes = {
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "transposed": transposed,
                "output_padding": output_padding,
                "groups": groups,
            }
            self = make(*x, dtype=dtype, low=-1, high=1)
            weight = make(*w, dtype=dtype, low=-1, high=1)
            for bias in (None, make(channels, dtype=dtype)):
                for how in [lambda tensor: tensor, permuted, stepped]:
                    operands = {"input": how(self), "weight": how(weight), "bias": bias}
                    yield Case(operands, attributes, "matmul")
            operands = {"input": make(0, *x[1:], dtype=dtype), "weight": weight, "bias": None}
            yield Case(operands, attributes, "matmul")


POOLS = [
    {"kernel_size": [2, 2]},
    {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 1]},
    {"kernel_size": [3], "stride": [2], "padding": [1], "ceil_mode": True},
]


@cases("aten.max_pool2d_with_indices")
def max_pool(name, make):
    """Windows of every kind."""
    for dtype in FLOATS:
        for attributes in [*POOLS, {"kernel_size": [2], "dilation": [2], "stride": [1]}]:
            # Distinct values: which of equals is taken is PyTorch's affair.
            values = torch.randperm(2 * 3 * 7 * 6, generator=make.generator) % 251
            self = values.reshape(2, 3, 7, 6).to(dtype)
            yield Case({"self": self}, attributes, ordered=False)
            yield Case({"self": permuted(self)}, attributes, ordered=False)
        yield Case({"self": make(3, 5, 5, dtype=dtype)}, POOLS[0])
        yield Case({"self": make(0, 2, 5, 5, dtype=dtype)}, POOLS[0])
    self = torch.tensor([[[1.0, float("nan")], [3.0, 4.0]]])
    yield Case({"self": self}, {"kernel_size": [2]})


@cases("aten.avg_pool2d")
def avg_pool(name, make):
    """Windows of every kind, padding counted or not."""
    for dtype in FLOATS:
        for attributes in POOLS:
            self = make(2, 3, 7, 6, dtype=dtype)
            yield Case({"self": self}, attributes, "reduction")
            yield Case({"self": stepped(self)}, attributes, "reduction")
            yield Case({"self": self}, {**attributes, "count_include_pad": False}, "reduction")
            yield Case({"self": self}, {**attributes, "divisor_override": 3}, "reduction")
        yield Case({"self": make(0, 2, 5, 5, dtype=dtype)}, POOLS[0], "reduction")


@cases("aten._adaptive_avg_pool2d", "aten.adaptive_avg_pool2d")
def adaptive_avg_pool(name, make):
    """Sizes that divide and that do not."""
    for dtype in FLOATS:
        for size in ([1, 1], [2, 3], [5, 4]):
            for shape in [(2, 3, 6, 7), (0, 3, 6, 7), (3, 6, 7)]:
                self = make(*shape, dtype=dtype)
                yield Case({"self": self}, {"output_size": size}, "reduction")


@cases("aten.upsample_nearest2d", "aten.upsample_bilinear2d", "aten.upsample_bicubic2d")
def upsample(name, make):
    """Up, down, and with scales."""
    for dtype in FLOATS:
        for size in ([8, 10], [3, 2], [5, 6], [1, 1]):
            for aligned in (None,) if name == "aten.upsample_nearest2d" else (False, True):
                attributes = {"output_size": size}
                if aligned is not None:
                    attributes["align_corners"] = aligned
                scaled = {**attributes, "scales_h": size[0] / 5, "scales_w": size[1] / 6}
                self = make(2, 3, 5, 6, dtype=dtype)
                yield Case({"self": self}, attributes, "reduction", once(aten(name)))
                yield Case({"self": permuted(self)}, scaled, "reduction", once(aten(name)))
                empty = make(0, 3, 5, 6, dtype=dtype)
                yield Case({"self": empty}, attributes, "reduction", once(aten(name)))


@cases("aten._softmax", "aten._log_softmax")
def softmax(name, make):
    """Every dim, masked entries, large values."""

    def case(self, dim):
        attributes = {"dim": dim, "half_to_float": False}
        return Case({"self": self}, attributes, "reduction", once(aten(name)))

    for dtype in FLOATS:
        for dim in (0, 1, -1):
            for how in [lambda tensor: tensor, *STRIDES]:
                yield case(how(make(3, 4, 5, dtype=dtype)), dim)
        yield case(torch.tensor([[1.0, -math.inf, 3.0], [500.0, -500.0, 499.0]]).to(dtype), 1)
        yield case(make(dtype=dtype), 0)
        yield case(make(0, 3, dtype=dtype), -1)


@cases("aten.native_layer_norm")
def layer_norm(name, make):
    """One or two dims, with and without weights."""
    for dtype in FLOATS:
        shapes = [((2, 3, 8), [8]), ((2, 3, 8), [3, 8]), ((4, 1), [1]), ((0, 4), [4])]
        for shape, normalized in shapes:
            weight, bias = make(*normalized, dtype=dtype), make(*normalized, dtype=dtype)
            for operands in [(weight, bias), (None, None), (weight, None)]:
                for how in [lambda tensor: tensor, permuted]:
                    named = dict(zip(("weight", "bias"), operands, strict=True))
                    self = make(*shape, dtype=dtype)
                    yield Case(
                        {"input": how(self) if 0 not in shape else self, **named},
                        {"normalized_shape": normalized, "eps": 1e-5},
                        "reduction",
                    )


@cases("aten.native_group_norm")
def group_norm(name, make):
    """Groups of one and of several channels."""
    for dtype in FLOATS:
        for group in (1, 2, 6):
            for weight, bias in [(make(6, dtype=dtype), make(6, dtype=dtype)), (None, None)]:
                for n in (2, 0):
                    yield Case(
                        {"input": make(n, 6, 3, 4, dtype=dtype), "weight": weight, "bias": bias},
                        {"N": n, "C": 6, "HxW": 12, "group": group, "eps": 1e-5},
                        "reduction",
                        contiguous(aten(name)),
                    )


@cases("aten._native_batch_norm_legit_no_training")
def batch_norm(name, make):
    """With and without weights."""
    for dtype in FLOATS:
        for shape in [(2, 3, 4, 5), (2, 3), (1, 3, 7), (0, 3, 4, 5)]:
            for weight, bias in [(make(3, dtype=dtype), make(3, dtype=dtype)), (None, None)]:
                operands = {
                    "input": make(*shape, dtype=dtype),
                    "weight": weight,
                    "bias": bias,
                    "running_mean": make(3, dtype=dtype),
                    "running_var": make(3, dtype=dtype, low=0.5),
                }
                attributes = {"momentum": 0.1, "eps": 1e-5}
                yield Case(operands, attributes, "reduction", contiguous(aten(name)))


@cases("aten.scaled_dot_product_attention")
def sdpa(name, make):
    """Masks of both kinds, causal, grouped heads."""
    for dtype in FLOATS:
        q, k = make(2, 4, 5, 8, dtype=dtype), make(2, 4, 7, 8, dtype=dtype)
        v = make(2, 4, 7, 6, dtype=dtype)
        mask = make(5, 7, dtype=torch.bool)
        mask[:, 0] = True
        for attn_mask in (None, mask, make(2, 1, 5, 7, dtype=dtype)):
            yield Case({"query": q, "key": k, "value": v, "attn_mask": attn_mask}, {}, "matmul")
        operands = {"query": q, "key": k, "value": v, "attn_mask": None}
        yield Case(operands, {"is_causal": True, "scale": 0.3}, "matmul")
        empty = {"query": q[:0], "key": k[:0], "value": v[:0], "attn_mask": None}
        yield Case(empty, {}, "matmul")
        few = {"key": make(2, 2, 7, 8, dtype=dtype), "value": make(2, 2, 7, 8, dtype=dtype)}
        yield Case({**operands, **few}, {"enable_gqa": True}, "matmul")


@cases("transformers.grouped_mm_fallback")
def grouped(name, make):
    """Experts with many rows, one and none."""

    def reference(input, weight, offs):
        bounds = itertools.pairwise([0, *offs.tolist()])
        return torch.cat(
            [input[a:b] @ expert for (a, b), expert in zip(bounds, weight, strict=True)]
        )

    for dtype in FLOATS:
        for offs in ([3, 3, 4, 9], [0, 0, 0, 9], [2, 4, 6, 8]):
            for index in (torch.int32, torch.int64):
                operands = {
                    "input": make(offs[-1], 4, dtype=dtype),
                    "weight": make(4, 4, 5, dtype=dtype),
                    "offs": torch.tensor(offs, dtype=index),
                }
                yield Case(operands, {}, "matmul", reference)
        weight = permuted(make(2, 70, 40, dtype=dtype))
        operands = {"input": stepped(make(30, 70, dtype=dtype)), "weight": weight}
        yield Case({**operands, "offs": torch.tensor([11, 30])}, {}, "matmul", reference)
