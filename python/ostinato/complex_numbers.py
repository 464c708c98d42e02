"""Takes complex numbers apart, which the engine does not have.

A complex value becomes a real one with a last dim of two, the real and the imaginary part, as
`view_as_real` has it. Fourier transforms become products with matrices of cosines and sines. Calls
without a rule keep their complex operands, and run in PyTorch.
"""

import contextlib
import math

import torch
from torch._guards import detect_fake_mode
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.utils._pytree import tree_map_only

from ostinato.decompositions import decompositions
from ostinato.importer import is_number

aten = torch.ops.aten
_LARGEST_TRANSFORM = 2048  # longer ones would need matrices of many megabytes
_RULES = {}


class _Pair:
    """A complex operand, as the real tensor that stands for it."""

    def __init__(self, both: torch.Tensor):
        self.both = both

    @property
    def re(self):
        return self.both.select(-1, 0)

    @property
    def im(self):
        return self.both.select(-1, 1)


def _pair(re, im) -> _Pair:
    return _Pair(torch.stack((re, im), -1))


def _parts(value):
    """The parts of a complex operand, of a real one or of a number."""
    if isinstance(value, _Pair):
        return value.re, value.im
    if isinstance(value, complex):
        return value.real, value.imag
    return value, None


def _rule(*targets):
    """Registers a rule: the call, on pairs in place of complex operands; it gives a pair or not."""

    def register(function):
        _RULES.update(dict.fromkeys(targets, function))
        return function

    return register


@_rule(aten.polar.default)
def _polar(abs, angle):
    return _pair(abs * angle.cos(), abs * angle.sin())


@_rule(aten.complex.default)
def _complex(real, imag):
    return _pair(real, imag)


@_rule(aten.view_as_complex.default)
def _view_as_complex(x):
    return _Pair(x)


@_rule(aten.view_as_real.default)
def _view_as_real(z):
    return z.both


@_rule(aten._to_copy.default)
def _to_copy(x, dtype=None, **rest):
    if isinstance(x, _Pair) or dtype != torch.complex64:
        return NotImplemented
    return _pair(x.float(), torch.zeros_like(x, dtype=torch.float32))


@_rule(aten._conj.default, aten._conj_physical.default, aten.conj_physical.default)
def _conj(z):
    return _pair(z.re, -z.im)


@_rule(aten.abs.default)
def _abs(z):
    return (z.re * z.re + z.im * z.im).sqrt()


@_rule(aten.angle.default)
def _angle(z):
    return torch.atan2(z.im, z.re)


@_rule(aten.mul.Tensor, aten.mul.Scalar)
def _mul(a, b):
    (a_re, a_im), (b_re, b_im) = _parts(a), _parts(b)
    if b_im is None:
        return _pair(a_re * b_re, a_im * b_re)
    if a_im is None:
        return _pair(a_re * b_re, a_re * b_im)
    return _pair(a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re)


@_rule(aten.div.Tensor, aten.div.Scalar)
def _div(a, b):
    b_re, b_im = _parts(b)
    return NotImplemented if b_im is not None else _pair(a.re / b_re, a.im / b_re)


@_rule(aten.add.Tensor)
def _add(a, b, alpha=1):
    (a_re, a_im), (b_re, b_im) = _parts(a), _parts(b)
    re = a_re + alpha * b_re
    im = a_im if b_im is None else alpha * b_im if a_im is None else a_im + alpha * b_im
    return _pair(re, im + torch.zeros_like(re))


@_rule(aten.sub.Tensor)
def _sub(a, b, alpha=1):
    return _add(a, b, -alpha)


@_rule(aten.cat.default)
def _cat(tensors, dim=0):
    if not all(isinstance(tensor, _Pair) for tensor in tensors):
        return NotImplemented
    return _pair(torch.cat([z.re for z in tensors], dim), torch.cat([z.im for z in tensors], dim))


def _on_either_part(target):
    def rule(z, *arguments, **named):
        return _pair(target(z.re, *arguments, **named), target(z.im, *arguments, **named))

    return rule


for _target in (
    aten.alias.default,
    aten.clone.default,
    aten.detach.default,
    aten.expand.default,
    aten.index.Tensor,
    aten.mean.dim,
    aten.neg.default,
    aten.permute.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.sum.dim_IntList,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
    aten._unsafe_view.default,
):
    _RULES[_target] = _on_either_part(_target)


def _waves(size: int, count: int):
    """cos and sin of the angles 2 pi j k / size, j below `size` and k below `count`."""
    j, k = torch.arange(size).unsqueeze(1), torch.arange(count)
    angles = (j * k % size).float() * (2 * math.pi / size)
    return angles.cos(), angles.sin()


def _transform(re, im, dim: int, forward: bool, count: int):
    """The first `count` terms of the transform of one dim; `im` is None for zeros."""
    cos, sin = _waves(re.shape[dim], count)
    sin = -sin if forward else sin
    re = re.movedim(dim, -1)
    if im is None:
        parts = re @ cos, re @ sin
    else:
        im = im.movedim(dim, -1)
        parts = re @ cos - im @ sin, re @ sin + im @ cos
    return [part.movedim(-1, dim) for part in parts]


def _too_long(sizes) -> bool:
    return not all(isinstance(size, int) and size <= _LARGEST_TRANSFORM for size in sizes)


def _scale(sizes, normalization: int) -> float:
    """As ATen counts: 0 is none, 1 by the root of the number of elements, 2 by the number."""
    return math.prod(sizes) ** (-normalization / 2)


@_rule(aten._fft_c2c.default)
def _fft_c2c(z, dim, normalization, forward):
    sizes = [z.re.shape[d] for d in dim]
    if _too_long(sizes):
        return NotImplemented
    re, im = z.re, z.im
    for d, size in zip(dim, sizes, strict=True):
        re, im = _transform(re, im, d, forward, size)
    scale = _scale(sizes, normalization)
    return _pair(re * scale, im * scale)


@_rule(aten._fft_r2c.default)
def _fft_r2c(x, dim, normalization, onesided):
    sizes = [x.shape[d] for d in dim]
    if _too_long(sizes):
        return NotImplemented
    re, im = _transform(x, None, dim[-1], True, sizes[-1] // 2 + 1 if onesided else sizes[-1])
    for d, size in zip(dim[:-1], sizes[:-1], strict=True):
        re, im = _transform(re, im, d, True, size)
    scale = _scale(sizes, normalization)
    return _pair(re * scale, im * scale)


@_rule(aten._fft_c2r.default)
def _fft_c2r(z, dim, normalization, last_dim_size):
    sizes = [z.re.shape[d] for d in dim[:-1]]
    if _too_long([*sizes, last_dim_size]):
        return NotImplemented
    re, im = z.re, z.im
    for d, size in zip(dim[:-1], sizes, strict=True):
        re, im = _transform(re, im, d, False, size)
    # The terms that are not there are the conjugates of those that are.
    cos, sin = _waves(last_dim_size, last_dim_size // 2 + 1)
    term = torch.arange(last_dim_size // 2 + 1)
    times = 2.0 - ((term == 0) | (2 * term == last_dim_size)).float()
    re, im = re.movedim(dim[-1], -1) * times, im.movedim(dim[-1], -1) * times
    x = (re @ cos.t() - im @ sin.t()).movedim(-1, dim[-1])
    return x * _scale([*sizes, last_dim_size], normalization)


def _is_complex(value) -> bool:
    return isinstance(value, torch.Tensor) and value.is_complex()


def _inlined(node: Node, rule, pairs: dict[Node, Node]) -> tuple[Node, bool] | None:
    """The nodes that a rule makes of a call, before it: the last, and whether it is a pair."""
    operands = node.all_input_nodes
    sources = [pairs.get(operand, operand) for operand in operands]
    values = [source.meta.get("val") for source in sources]
    if not all(isinstance(value, torch.Tensor) for value in values):
        return None
    if any(value.dtype in (torch.float64, torch.complex128) for value in values):
        return None
    if any(_is_complex(value) for value in values):
        return None
    is_pair = None

    def run(*tensors):
        nonlocal is_pair
        given = {
            operand: _Pair(tensor) if operand in pairs else tensor
            for operand, tensor in zip(operands, tensors, strict=True)
        }
        arguments = tree_map_only(Node, given.__getitem__, (node.args, dict(node.kwargs)))
        result = rule(*arguments[0], **arguments[1])
        is_pair = isinstance(result, _Pair)
        return result.both if is_pair else result

    with detect_fake_mode(values) or contextlib.nullcontext(), torch.no_grad():
        traced = make_fx(run, decomposition_table=decompositions())(*values)
    made = dict(zip(traced.graph.find_nodes(op="placeholder"), sources, strict=True))
    with node.graph.inserting_before(node):
        for inner in traced.graph.nodes:
            if inner.op == "output":
                last = inner.args[0]
                return (made[last], is_pair) if isinstance(last, Node) else None
            if inner.op != "placeholder":
                made[inner] = node.graph.node_copy(inner, made.__getitem__)
                made[inner].meta = {**node.meta, "val": inner.meta["val"]}
    return None


def _infer_again(node: Node):
    """What a call gives now that its operands lie otherwise in memory."""

    def value_of(operand: Node):
        return operand.meta["val"]

    if is_number(node.meta.get("val")):
        return
    arguments = map_arg((node.args, dict(node.kwargs)), value_of)
    values = [value_of(operand) for operand in node.all_input_nodes]
    with detect_fake_mode(values) or contextlib.nullcontext(), torch.no_grad():
        node.meta["val"] = node.target(*arguments[0], **arguments[1])


def take_complex_apart(gm: GraphModule):
    """Replaces calls on complex numbers by calls on their parts, in place."""
    pairs: dict[Node, Node] = {}
    moved: set[Node] = set()  # what may have other strides than PyTorch's
    for node in list(gm.graph.nodes):
        if node.op != "call_function":
            continue
        if not moved.isdisjoint(node.all_input_nodes):
            _infer_again(node)
            moved.add(node)
        values = [node.meta.get("val"), *(n.meta.get("val") for n in node.all_input_nodes)]
        rule = _RULES.get(node.target)
        if rule is None or not any(map(_is_complex, values)):
            continue
        if (inlined := _inlined(node, rule, pairs)) is None:
            continue
        result, is_pair = inlined
        if is_pair:
            pairs[node] = result
        else:
            node.replace_all_uses_with(result)
            moved.add(result)
    if pairs:
        gm.graph.eliminate_dead_code()
        gm.recompile()
