"""Cases of the fused operators, against their definitions."""

import re

import torch
import torch.nn.functional as F

from .harness import FLOATS, Case, State, aten, cases, permuted, stepped

ACTIVATIONS = {
    "none": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
}


def rms(self, weight, eps):
    """As Qwen3RMSNorm has it."""
    x = self.float()
    normed = (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)).to(self.dtype)
    return normed if weight is None else normed * weight


@cases("rms_norm", "add_rms_norm")
def rms_norm(name, make):
    """With and without a weight, and a residual."""

    def with_residual(self, residual, weight, eps):
        total = self + residual
        return rms(total, weight, eps), total

    for dtype in FLOATS:
        for shape in [(2, 3, 8), (1, 1), (0, 4), (5, 33)]:
            for weight in (None, make(shape[-1], dtype=dtype)):
                x = make(*shape, dtype=dtype)
                for self in (x, stepped(x)):
                    if name == "rms_norm":
                        operands = {"self": self, "weight": weight}
                        yield Case(operands, {"eps": 1e-6}, "reduction", rms)
                        continue
                    operands = {"self": self, "residual": make(*shape, dtype=dtype)}
                    operands["weight"] = weight
                    yield Case(operands, {"eps": 1e-6}, "reduction", with_residual)


@cases("layer_norm", "add_layer_norm")
def layer_norm(name, make):
    """Over the last dim, with and without a residual."""

    def reference(self, weight, bias, eps):
        return F.layer_norm(self, self.shape[-1:], weight, bias, eps)

    def with_residual(self, residual, weight, bias, eps):
        total = self + residual
        return reference(total, weight, bias, eps), total

    for dtype in FLOATS:
        for shape in [(2, 3, 8), (4, 1), (0, 4)]:
            weight, bias = make(shape[-1], dtype=dtype), make(shape[-1], dtype=dtype)
            for first, second in [(weight, bias), (None, None), (weight, None)]:
                self, rest = make(*shape, dtype=dtype), {"weight": first, "bias": second}
                if name == "layer_norm":
                    yield Case({"self": self, **rest}, {"eps": 1e-5}, "reduction", reference)
                    continue
                residual = make(*shape, dtype=dtype)
                operands = {"self": self, "residual": residual, **rest}
                yield Case(operands, {"eps": 1e-5}, "reduction", with_residual)


@cases("swiglu")
def swiglu(name, make):
    """silu(gate) * up"""
    for dtype in FLOATS:
        for shape in [(2, 3, 8), (1,), (0, 4)]:
            gate, up = make(*shape, dtype=dtype), make(*shape, dtype=dtype)
            for first, second in [(gate, up), (stepped(gate), permuted(up))]:
                yield Case(
                    {"gate": first, "up": second},
                    {},
                    "elementwise",
                    lambda gate, up: (F.silu(gate.float()) * up.float()).to(gate.dtype),
                )


@cases("geglu")
def geglu(name, make):
    """gelu(gate) * up"""

    def reference(gate, up, approximate):
        return (F.gelu(gate.float(), approximate=approximate) * up.float()).to(gate.dtype)

    for dtype in FLOATS:
        for shape in [(2, 3, 8), (1,), (0, 4)]:
            gate, up = make(*shape, dtype=dtype), make(*shape, dtype=dtype)
            for approximate in ("none", "tanh"):
                for first, second in [(gate, up), (stepped(gate), permuted(up))]:
                    operands = {"gate": first, "up": second}
                    yield Case(operands, {"approximate": approximate}, "matmul", reference)


def rotated(x, interleaved):
    """Quarter turns of pairs of dims: halves apart, or neighbours."""
    if interleaved:
        return torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    a, b = x.chunk(2, -1)
    return torch.cat((-b, a), -1)


@cases("rotary")
def rotary(name, make):
    """Whole and partial, both layouts."""

    def reference(self, cos, sin, interleaved):
        size = cos.shape[-1]
        x = self[..., :size]
        return torch.cat((x * cos + rotated(x, interleaved) * sin, self[..., size:]), -1)

    def rounded(self, cos, sin, interleaved, dtype):
        return reference(self, cos, sin, interleaved).to(dtype)

    for dtype in FLOATS[1:]:
        angles = make(2, 1, 3, 4)
        operands = {"self": make(2, 4, 3, 8, dtype=dtype), "cos": angles.cos(), "sin": angles.sin()}
        attributes = {"interleaved": False, "dtype": dtype}
        yield Case(operands, attributes, "reduction", rounded)
    for dtype in FLOATS:
        for size in (8, 4):
            for interleaved in (False, True):
                for how, length in [(lambda tensor: tensor, 3), (permuted, 3), (stepped, 0)]:
                    angles = make(2, 1, length, size)
                    operands = {
                        "self": how(make(2, 4, length, 8, dtype=dtype)),
                        "cos": angles.cos().to(dtype),
                        "sin": angles.sin().to(dtype),
                    }
                    yield Case(operands, {"interleaved": interleaved}, "reduction", reference)


def attend(
    query,
    key,
    value,
    mask,
    position,
    sinks,
    scale=None,
    causal=False,
    offset=0,
    window=None,
    softcap=None,
):
    """Softmax in float32; a row that may attend nothing gives zeros, a sink takes its share."""
    repeat = query.shape[1] // key.shape[1]
    q, k, v = (
        query.float(),
        key.float().repeat_interleave(repeat, 1),
        value.float().repeat_interleave(repeat, 1),
    )
    scores = q @ k.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    rows = torch.arange(scores.shape[-2])[:, None] + (offset if position is None else int(position))
    columns = torch.arange(scores.shape[-1])
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool)
    if causal:
        allowed &= columns <= rows
    if window is not None:
        allowed &= columns > rows - window
    allowed = allowed.expand(scores.shape)
    if mask is not None and mask.dtype == torch.bool:
        allowed = allowed & mask
    elif mask is not None:
        scores = scores + mask.float()
    scores = scores.masked_fill(~allowed, float("-inf"))
    if sinks is not None:
        columns = sinks.float()[None, :, None, None].expand(*scores.shape[:-1], 1)
        scores = torch.cat((scores, columns), -1)
    weights = torch.softmax(scores, -1).nan_to_num(0.0)[..., : key.shape[2]]
    return (weights @ v).to(query.dtype)


@cases("attention")
def attention(name, make):
    """Masks, offsets, positions, windows, grouped heads."""
    for dtype in FLOATS:
        operands = {
            "query": make(2, 4, 5, 8, dtype=dtype),
            "key": make(2, 2, 7, 8, dtype=dtype),
            "value": make(2, 2, 7, 6, dtype=dtype),
            "mask": None,
            "position": None,
            "sinks": None,
        }
        masked = make(2, 1, 5, 7, dtype=torch.bool)
        masked[0, 0, 2] = False  # attends nothing
        for changes, attributes in [
            ({}, {}),
            ({}, {"scale": 0.25}),
            ({}, {"causal": True}),
            ({}, {"causal": True, "offset": 2}),
            ({"position": torch.tensor(2)}, {"causal": True}),
            ({"position": torch.tensor(1)}, {"causal": True, "window": 2}),
            ({"mask": masked}, {}),
            ({"mask": masked}, {"softcap": 0.7, "scale": 1.5}),
            ({"mask": masked, "sinks": make(4, dtype=dtype)}, {}),
            ({"sinks": make(4, dtype=dtype)}, {"causal": True, "offset": 1, "softcap": 2.0}),
            ({"mask": make(5, 7, dtype=dtype)}, {"causal": True, "offset": 1}),
        ]:
            yield Case({**operands, **changes}, attributes, "matmul", attend)
        nobody = {key: operands[key][:0] for key in ("query", "key", "value")}
        yield Case({**operands, **nobody}, {}, "matmul", attend)


@cases("linear")
def linear(name, make):
    """Every epilogue."""

    def reference(input, weight, bias, residual, activation):
        y = F.linear(input.float(), weight.float(), None if bias is None else bias.float())
        y = ACTIVATIONS[activation](y.to(input.dtype).float()).to(input.dtype)
        return y if residual is None else y + residual

    for dtype in FLOATS:
        for activation in ACTIVATIONS:
            for bias in (None, make(5, dtype=dtype)):
                for rows, residual in [(2, None), (2, make(2, 3, 5, dtype=dtype)), (0, None)]:
                    operands = {
                        "input": make(rows, 3, 4, dtype=dtype, low=-1, high=1),
                        "weight": make(5, 4, dtype=dtype, low=-1, high=1),
                        "bias": bias,
                        "residual": residual,
                    }
                    yield Case(operands, {"activation": activation}, "matmul", reference)


@cases("linears")
def linears(name, make):
    """A result for each weight, with and without a bias."""

    def reference(input, pairs):
        return [
            F.linear(input, weight, bias)
            for weight, bias in zip(pairs[::2], pairs[1::2], strict=True)
        ]

    for dtype in FLOATS:
        for rows in (1, 3, 0):
            pairs = [make(5, 4, dtype=dtype, low=-1, high=1), make(5, dtype=dtype)]
            pairs += [make(7, 4, dtype=dtype, low=-1, high=1), None]
            operands = {"input": make(2, rows, 4, dtype=dtype, low=-1, high=1), "pairs": pairs}
            yield Case(operands, {}, "matmul", reference)


@cases("gated_linear")
def gated_linear(name, make):
    """Every activation."""

    def reference(input, gate_weight, up_weight, gate_bias, up_bias, activation):
        gate, up = F.linear(input, gate_weight, gate_bias), F.linear(input, up_weight, up_bias)
        return ACTIVATIONS[activation](gate) * up

    for dtype in FLOATS:
        for activation in ACTIVATIONS:
            for rows, bias in [(3, None), (1, make(5, dtype=dtype)), (0, None)]:
                operands = {
                    "input": make(2, rows, 4, dtype=dtype, low=-1, high=1),
                    "gate_weight": make(5, 4, dtype=dtype, low=-1, high=1),
                    "up_weight": make(5, 4, dtype=dtype, low=-1, high=1),
                    "gate_bias": bias,
                    "up_bias": bias,
                }
                yield Case(operands, {"activation": activation}, "matmul", reference)


@cases("norm_linears", "norm_gated_linear")
def norm_linears(name, make):
    """The products of a norm's result, which is rounded before them."""

    def each(input, norm_weight, pairs, eps):
        x = rms(input, norm_weight, eps)
        return [F.linear(x, pairs[0], pairs[1]), F.linear(x, pairs[2])]

    def gated(input, norm_weight, gate_weight, up_weight, gate_bias, up_bias, activation, eps):
        x = rms(input, norm_weight, eps)
        return F.silu(F.linear(x, gate_weight)) * F.linear(x, up_weight)

    for dtype in FLOATS:
        for rows, weighted in [(1, True), (3, False), (0, True)]:
            weights = [make(5, 4, dtype=dtype, low=-1, high=1) for _ in range(2)]
            operands = {"input": make(2, rows, 4, dtype=dtype, low=-1, high=1)}
            operands["norm_weight"] = make(4, dtype=dtype) if weighted else None
            if name == "norm_linears":
                operands["pairs"] = [weights[0], make(5, dtype=dtype), weights[1], None]
                yield Case(operands, {"eps": 1e-6}, "matmul", each)
                continue
            operands |= {"gate_weight": weights[0], "up_weight": weights[1]}
            operands |= {"gate_bias": None, "up_bias": None}
            yield Case(operands, {"activation": "silu", "eps": 1e-6}, "matmul", gated)


@cases("rotary_pair", "rotary_cache")
def rotary_pair(name, make):
    """With and without norms; keys and values into caches that begin as zeros."""

    def turn(x, weight, cos, sin, eps, interleaved):
        x = x if eps is None else rms(x, weight, eps)
        size = cos.shape[-1]
        head = x[..., :size]
        return torch.cat((head * cos + rotated(head, interleaved) * sin, x[..., size:]), -1)

    def pair(query, key, cos, sin, query_weight, key_weight, eps=None, interleaved=False):
        return (
            turn(query, query_weight, cos, sin, eps, interleaved),
            turn(key, key_weight, cos, sin, eps, interleaved),
        )

    def cache(query, key_cache, key, value_cache, value, position, **rest):
        query, key = pair(query, key, **rest)
        rows = slice(int(position), int(position) + key.shape[2])
        key_cache[:, :, rows], value_cache[:, :, rows] = key, value
        return key_cache, value_cache, query

    def states(dtype):
        return [State(torch.zeros(2, 2, 5, size, dtype=dtype)) for size in (8, 6)]

    for dtype in FLOATS:
        for size, normed in [(8, True), (8, False), (4, True)]:
            for how, length in [(lambda tensor: tensor, 3), (permuted, 3), (stepped, 1)]:
                angles = make(2, 1, length, size)
                query, key = make(2, 4, length, 8, dtype=dtype), make(2, 2, length, 8, dtype=dtype)
                weights = [make(8, dtype=dtype) if normed else None for _ in range(2)]
                tables = {"cos": angles.cos().to(dtype), "sin": angles.sin().to(dtype)}
                tables |= {"query_weight": weights[0], "key_weight": weights[1]}
                attributes = {"eps": 1e-6} if normed else {"interleaved": True}
                if name == "rotary_pair":
                    operands = {"query": how(query), "key": how(key), **tables}
                    yield Case(operands, attributes, "matmul", pair)
                    continue
                keys, values = states(dtype)
                operands = {"query": how(query), "key_cache": keys, "key": how(key)}
                operands |= {
                    "value_cache": values,
                    "value": make(2, 2, length, 6, dtype=dtype),
                    "position": torch.tensor(2),
                }
                yield Case(operands | tables, attributes, "matmul", cache)


@cases("cache_update")
def cache_update(name, make):
    """Rows at a position, in a state that begins as zeros."""

    def reference(cache, value, position):
        end = int(position) + value.shape[2]
        cache[:, :, int(position) : end] = value
        return cache

    for dtype in FLOATS:
        for rows, position in [(1, 0), (3, 4), (7, 0)]:
            operands = {
                "cache": State(torch.zeros(2, 3, 7, 4, dtype=dtype)),
                "value": make(2, 3, rows, 4, dtype=dtype),
                "position": torch.tensor(position),
            }
            yield Case(operands, {}, "elementwise", reference)


def run_program(tensors, program):
    """The calls of a program, one after the other, as PyTorch makes them."""
    values = list(tensors)
    for statement in program.split("; "):
        name, operands, attributes = re.fullmatch(
            r"%\d+ = ([\w.]+)\(([^)]*)\)(?: \{(.*)\})?", statement
        ).groups()
        arguments = [values[int(operand.strip(" %"))] for operand in operands.split(",")]
        words = {**vars(torch), "true": True}
        values.append(aten(name)(*arguments, **eval(f"dict({attributes or ''})", words)))
    return values[-1]


@cases("fused_elementwise")
def fused_elementwise(name, make):
    """Casts, comparisons, selections, scalars; every intermediate value is rounded."""
    programs = [
        "%3 = aten.sub.Tensor(%0, %1); %4 = aten.mul.Tensor(%3, %2); %5 = aten.tanh(%4)",
        "%3 = aten.mul.Scalar(%0) {other=0.7}; %4 = aten.gt.Tensor(%3, %1); "
        "%5 = aten.where.self(%4, %3, %2); %6 = aten.add.Scalar(%5) {other=3, alpha=2}",
        "%3 = aten._to_copy(%0) {dtype=float32}; %4 = aten.mul.Tensor(%3, %1); "
        "%5 = aten._to_copy(%4) {dtype=bfloat16}; %6 = aten.add.Tensor(%5, %2)",
    ]
    for dtype in FLOATS:
        for program in programs:
            for shape in [(2, 3, 8), (0, 4), (1,)]:
                x = make(*shape, dtype=dtype)
                bias, one = make(shape[-1], dtype=dtype), make(dtype=dtype)
                for tensors in ([x, bias, one], [stepped(x), make(*shape, dtype=dtype), one]):
                    operands = {"tensors": tensors}
                    yield Case(operands, {"program": program}, "elementwise", run_program)


@cases("fused_reduction")
def fused_reduction(name, make):
    """Sums, means and extrema of a product over the last dims."""
    for dtype in FLOATS:
        for reduction in [
            "aten.sum.dim_IntList(%2) {dim=[-1], keepdim=true}",
            "aten.mean.dim(%2) {dim=[1, 2], dtype=float32}",
            "aten.amax(%2) {dim=[2]}",
            "aten.amin(%2) {dim=[-1, -2], keepdim=true}",
        ]:
            for shape in [(2, 3, 8), (5, 1, 33)]:
                operands = {"tensors": [make(*shape, dtype=dtype), make(shape[-1], dtype=dtype)]}
                program = f"%2 = aten.mul.Tensor(%0, %1); %3 = {reduction}"
                yield Case(operands, {"program": program}, "reduction", run_program)
