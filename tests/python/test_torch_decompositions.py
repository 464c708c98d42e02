"""Calls that the engine has only in terms of other operators, through torch.compile."""

import pytest
import torch
import torch.nn.functional as F

FUNCTIONS = {
    "exp2": lambda x, i: torch.exp2(x),
    "round to decimals": lambda x, i: (x.round(decimals=2), (x * 99).round(decimals=-1)),
    "remainder of a number": lambda x, i: torch.remainder(7, i),
    "fmax": lambda x, i: torch.fmax(x.sqrt(), x) - torch.fmin(x, x.sqrt()),
    "shifts": lambda x, i: ((i << 2) + (-i >> 1)) >> (i % 3),
    "addbmm": lambda x, i: torch.addbmm(torch.ones(3, 3), x[..., 0, :3], x[..., 1, :3], alpha=2),
    "cdist": lambda x, i: torch.cdist(x[0, 0], x[1, 0], p=1.0) + torch.cdist(x[0, 0], x[1, 0]),
    "searchsorted": lambda x, i: (
        torch.searchsorted(x.flatten().sort()[0], x[0, 0]),
        torch.searchsorted(i.sort(-1)[0], i, right=True),
        torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])),
    ),
    "repeats": lambda x, i: x.repeat_interleave(i[0, :3], dim=1, output_size=6),
    "average of volumes": lambda x, i: (
        F.avg_pool3d(x, 2, stride=1, padding=1),
        F.avg_pool3d(x, (1, 2, 3), divisor_override=5),
        F.adaptive_avg_pool3d(x, (1, 2, 3)),
        F.local_response_norm(x, 3),
    ),
    "largest of windows": lambda x, i: (F.max_pool3d(x[None], 2), F.adaptive_max_pool2d(x, 2)),
    "norms of the batch": lambda x, i: (
        F.instance_norm(x),
        F.batch_norm(x, None, None, None, None, True),
    ),
    "sampling": lambda x, i: F.grid_sample(x, x[:, :2, :2].tanh().permute(0, 2, 3, 1)[..., :2]),
    "antialias": lambda x, i: (
        F.interpolate(x, size=(2, 9), mode="bilinear", antialias=True),
        F.interpolate(x, scale_factor=0.7, mode="bilinear", antialias=True),
        F.interpolate(x, size=(3, 3), mode="bicubic", antialias=True),
        F.interpolate(x, size=(3, 8), mode="bicubic", antialias=True, align_corners=True),
    ),
    "rotation by complex numbers": lambda x, i: torch.view_as_real(
        torch.view_as_complex(x.unflatten(-1, (3, 2)))
        * torch.polar(torch.ones(4, 3), x[0, 0, :, :3])[None]
    ).flatten(3),
    "arithmetic of complex numbers": lambda x, i: (
        ((torch.complex(x, x.cos()) * 2 + 1j - x) / 3).sum(1).abs(),
        torch.cat([torch.complex(x, x), torch.complex(x, -x).conj()], 1)[:, 2:].angle(),
    ),
    "transforms": lambda x, i: (
        torch.fft.fft2(x).real,
        torch.fft.ifft(torch.complex(x, x.sin()), dim=1).imag,
        torch.fft.irfftn(torch.fft.rfftn(x, norm="ortho"), s=x.shape),
        torch.fft.irfft(torch.complex(x, x.sin()), n=7),
    ),
    "spectrogram": lambda x, i: torch.stft(
        x.flatten(), 16, window=torch.hann_window(16), return_complex=True
    ).abs(),
    "table in float64": lambda x, i: (
        x * torch.linspace(0, 1, 6, dtype=torch.float64).exp().float(),
        torch.tril_indices(4, 4) + i[0, 0],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name, recorded):
    """Gives what eager gives, and nothing runs in PyTorch."""
    torch.manual_seed(0)
    arguments = torch.randn(2, 3, 4, 6), torch.tensor([[1, 2, 3, 4], [7, 5, 9, 2]])
    function = FUNCTIONS[name]
    run = torch.compile(function, backend="ostinato", fullgraph=True)
    with torch.no_grad():
        want, got = function(*arguments), run(*arguments)
    pairs = zip(*((x if isinstance(x, tuple) else (x,)) for x in (got, want)), strict=True)
    for actual, expected in pairs:
        torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4, equal_nan=True)
    assert not recorded()


def test_what_has_no_rule_runs_in_pytorch(recorded):
    """Complex numbers too, beside those that were taken apart."""

    def function(x):
        z = torch.complex(x, x)
        return (z * 2).abs() + 1, z * 3, torch.linalg.eigvals(x[0, 0, :4, :4]).abs().sum()

    x = torch.randn(2, 3, 4, 6)
    with torch.no_grad():
        got = torch.compile(function, backend="ostinato", fullgraph=True)(x)
        torch.testing.assert_close(got, function(x))
    assert "aten.linalg_eig" in {record.operator for record in recorded()}
