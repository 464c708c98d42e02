"""Floats with dynamic=True: a module's are constants under a guard, arguments are inputs."""

import pytest
import torch

from ostinato.backend import ostinato as backend

pytestmark = pytest.mark.usefixtures("inference")


class Counting:
    """The backend, and the times it was asked."""

    def __init__(self):
        self.graphs = []

    def __call__(self, gm, example_inputs):
        """Compiles with the backend, where any record is an error."""
        self.graphs.append(gm)
        return backend(gm, example_inputs, options={"strict": True})


class Norm(torch.nn.Module):
    """A hand-written RMSNorm."""

    def __init__(self, eps=1e-6):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        """x · rsqrt(mean(x²) + eps)."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def test_module_float_is_a_constant_under_a_guard():
    """One graph for all lengths, traced once; another where the float changes."""
    module, counting = Norm(), Counting()
    run = torch.compile(module, backend=counting, dynamic=True, fullgraph=True)
    for eps, graphs in ((1e-6, 1), (0.5, 2)):
        module.eps = eps
        for length in (3, 4, 5):
            x = torch.randn(length, 8)
            torch.testing.assert_close(run(x), module(x))
        assert len(counting.graphs) == graphs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float_argument_is_an_input(dtype):
    """Its value may change from call to call without a new graph."""
    counting = Counting()

    def function(x, scale):
        return (x * scale).sin() + scale

    run = torch.compile(function, backend=counting, dynamic=True, fullgraph=True)
    for scale in (0.1, 1 / 3, -2.5):
        x = torch.randn(5).to(dtype)
        torch.testing.assert_close(run(x, scale), function(x, scale))
    assert len(counting.graphs) == 1


class Attention(torch.nn.Module):
    """Its scale is asked for while Dynamo traces: there it is a number already."""

    def __init__(self):
        super().__init__()
        self.scale = 0.3

    def forward(self, x):
        """Attention of x to itself."""
        return torch.nn.functional.scaled_dot_product_attention(x, x, x, scale=self.scale)


def test_float_that_tracing_asked_for():
    """It is traced once too, and its change is noticed."""
    module, counting = Attention(), Counting()
    run = torch.compile(module, backend=counting, dynamic=True, fullgraph=True)
    for scale, graphs in ((0.3, 1), (2.0, 2)):
        module.scale = scale
        x = torch.randn(1, 2, 4, 8)
        torch.testing.assert_close(run(x), module(x))
        assert len(counting.graphs) == graphs
