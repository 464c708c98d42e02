"""Operators that the engine lacks, in terms of those that it has.

Beside PyTorch's own decompositions to core ATen. A decomposition that does not know a case returns
NotImplemented: the operator then stays what it is, and runs in PyTorch on record.
"""

import functools

import torch
from torch._decomp import core_aten_decompositions, get_decompositions

from ostinato import _engine
from ostinato.importer import operator_name

aten = torch.ops.aten
_OWN = {}
# PyTorch can take them apart, but does not count that as core ATen.
_FURTHER = [
    aten._native_batch_norm_legit.no_stats,
    aten._native_batch_norm_legit_functional,
    aten.adaptive_max_pool2d,
    aten.addmv,
    aten.bucketize,
    aten.dist,
    aten.grid_sampler_2d,
    aten.ldexp,
    aten.max_pool3d_with_indices,
]


def _decomposes(*targets):
    """Registers a decomposition."""

    def register(function):
        _OWN.update(dict.fromkeys(targets, function))
        return function

    return register


@functools.cache
def decompositions() -> dict:
    """All of them, by overload, but for what the engine has as it is."""
    core = dict(core_aten_decompositions().items())
    found = core | get_decompositions(_FURTHER) | _OWN
    return {
        target: function
        for target, function in found.items()
        if not _engine.has_op(operator_name(target))
    }


@_decomposes(aten.exp2.default)
def _exp2(self):
    return torch.pow(2.0, self)


@_decomposes(aten.round.decimals)
def _round(self, *, decimals):
    if not self.is_floating_point():
        return NotImplemented
    if decimals < 0:
        return torch.round(self / 10.0**-decimals) * 10.0**-decimals
    return torch.round(self * 10.0**decimals) / 10.0**decimals


@_decomposes(aten.remainder.Scalar_Tensor)
def _remainder(self, other):
    dtype = torch.result_type(self, other)
    return torch.remainder(torch.full((), self, dtype=dtype), other)


@_decomposes(aten.fmax.default)
def _fmax(self, other):
    return torch.where(other.isnan() | (self >= other), self, other)


@_decomposes(aten.fmin.default)
def _fmin(self, other):
    return torch.where(other.isnan() | (self <= other), self, other)


@_decomposes(aten.__lshift__.Scalar, aten.__lshift__.Tensor, aten.bitwise_left_shift.Tensor)
def _shift_left(self, other):
    if not isinstance(other, torch.Tensor):
        return self * 2**other if other < 63 else NotImplemented
    return self * torch.pow(torch.full((), 2, dtype=self.dtype), other)


@_decomposes(aten.__rshift__.Scalar, aten.__rshift__.Tensor, aten.bitwise_right_shift.Tensor)
def _shift_right(self, other):
    if not isinstance(other, torch.Tensor):
        return torch.div(self, 2**other, rounding_mode="floor") if other < 63 else NotImplemented
    divisor = torch.pow(torch.full((), 2, dtype=self.dtype), other)
    return torch.div(self, divisor, rounding_mode="floor")


@_decomposes(aten.addbmm.default)
def _addbmm(self, batch1, batch2, *, beta=1, alpha=1):
    return self * beta + torch.bmm(batch1, batch2).sum(0) * alpha


@_decomposes(aten._cdist_forward.default)
def _cdist(x1, x2, p, compute_mode):
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@_decomposes(aten.searchsorted.Tensor)
def _searchsorted(sorted_sequence, self, *, out_int32=False, right=False, side=None, sorter=None):
    if sorter is not None:
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    if sorted_sequence.dim() > 1:
        sorted_sequence = sorted_sequence.unsqueeze(-2)
    compare = torch.le if right or side == "right" else torch.lt
    found = compare(sorted_sequence, self.unsqueeze(-1)).sum(-1)
    return found.to(torch.int32) if out_int32 else found


@_decomposes(aten.repeat_interleave.Tensor)
def _repeats(repeats, *, output_size=None):
    if output_size is None:
        return NotImplemented
    position = torch.arange(output_size).unsqueeze(1)
    return (repeats.cumsum(0) <= position).sum(1).to(repeats.dtype)


def _triple(values):
    return list(values) * 3 if len(values) == 1 else list(values)


@_decomposes(aten.avg_pool3d.default)
def _avg_pool3d(
    self,
    kernel_size,
    stride=(),
    padding=(0,),
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    kernel, steps, padding = _triple(kernel_size), _triple(stride or kernel_size), _triple(padding)
    if ceil_mode or (any(padding) and not count_include_pad):
        return NotImplemented
    windows = torch.nn.functional.pad(self, [p for side in padding[::-1] for p in (side, side)])
    for size, step in zip(kernel, steps, strict=True):
        windows = windows.unfold(-3, size, step)  # the dim goes to the end, the next comes to -3
    if divisor_override:
        return windows.sum((-3, -2, -1)) / divisor_override
    return windows.mean((-3, -2, -1))


@_decomposes(aten._adaptive_avg_pool3d.default)
def _adaptive_avg_pool3d(self, output_size):
    sizes = list(zip(self.shape[-3:], output_size, strict=True))
    if any(size % out for size, out in sizes):
        return NotImplemented
    kernel = [size // out for size, out in sizes]
    return aten.avg_pool3d.default(self, kernel, kernel)


def _triangle(x):
    return (1 - x.abs()).clamp(min=0)


def _cubic(x):
    """Keys's cubic with a = -0.5, as PIL has it."""
    x = x.abs()
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, inner, torch.where(x < 2, outer, 0.0))


def _resampling(size: int, out: int, align_corners, scale, kernel):
    """The (out, size) matrix that resamples one dim, with a filter as wide as the step down."""
    if align_corners:
        step = (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        step = 1 / scale if scale else size / out
    centre = (torch.arange(out, dtype=torch.float32) + 0.5).unsqueeze(1) * step
    position = torch.arange(size, dtype=torch.float32) + 0.5
    weights = kernel((position - centre) / max(step, 1.0))
    return weights / weights.sum(1, keepdim=True)


def _antialiased(kernel):
    def resample(self, output_size, align_corners, scales_h=None, scales_w=None):
        sizes = [*self.shape[-2:], *output_size]
        if not self.is_floating_point() or not all(isinstance(size, int) for size in sizes):
            return NotImplemented
        height, width, out_height, out_width = sizes
        rows = _resampling(height, out_height, align_corners, scales_h, kernel)
        columns = _resampling(width, out_width, align_corners, scales_w, kernel)
        return (rows @ (self.float() @ columns.t())).to(self.dtype)

    return resample


_OWN[aten._upsample_bilinear2d_aa.default] = _antialiased(_triangle)
_OWN[aten._upsample_bicubic2d_aa.default] = _antialiased(_cubic)
