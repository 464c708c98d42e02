"""The torch.compile backend with sizes that only a call tells, and that may be zero or negative."""

import pytest
import torch

import ostinato as package
from ostinato.backend import compile_fx


@pytest.fixture(autouse=True)
def data_tells_sizes(recorded):
    """Dynamo takes sizes that data decides as symbols."""
    with (
        torch.no_grad(),
        torch._dynamo.config.patch(
            capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True
        ),
    ):
        yield


X = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (lambda x, n: x * torch.sym_max(n, 1), (3, -3, 0, 1)),
        (lambda x, n: x * torch.sym_min(n, 1), (3, -3, 0, 1)),
        (lambda x, n: x[:, :n] * 2, (3, 1, 0, -1, -3, 9)),
    ],
)
def test_numbers_of_any_sign(function, numbers):
    """An int that is an argument is no size."""
    run = torch.compile(function, backend="ostinato", dynamic=True, fullgraph=True)
    for number in numbers:
        torch.testing.assert_close(run(X, number), function(X, number))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.nonzero()[:1] * 2,
        lambda x: torch.softmax(x[x > 5], 0),
        lambda x: torch.cat([x[x > 5], x[x > 5][:1]]),
    ],
)
def test_sizes_that_data_decides(function):
    """Many elements, one, none."""
    run = torch.compile(function, backend="ostinato", dynamic=True, fullgraph=True)
    for x in (X, X * (X == 11), X * 0):
        torch.testing.assert_close(run(x), function(x))


def test_size_zero_is_refused():
    """A graph that was simplified for sizes of at least one does not run on none."""
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(lambda x: (x[:1] * 2,), tracing_mode="symbolic")(X)
    run = compile_fx(graph)
    torch.testing.assert_close(run(X[:2])[0], X[:1] * 2)
    with pytest.raises(package.Error, match="at least 1"):
        run(X[:0])


def test_strides_of_whole_memory():
    """as_strided steps through the memory, whatever part of it the operand is."""

    def function(x):
        y = x + 1
        return y[1:].as_strided((2, 2), (4, 2)) * 2, y.t().as_strided((3,), (4,), 1) * 2

    run = torch.compile(function, backend="ostinato", fullgraph=True)
    for got, want in zip(run(X), function(X), strict=True):
        torch.testing.assert_close(got, want)
