"""Each option of the torch.compile backend has an effect, and none on the results."""

import logging
import re

import pytest
import torch
from one_graph import compiled

import ostinato as package
from ostinato import _engine, importer
from ostinato.backend import compile_fx
from ostinato.backend import ostinato as backend

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture()
def runner_of(monkeypatch):
    """Compiles a function, calls it, and gives the compiled function and the engine's runner."""
    found = []
    original = importer.Importer.run
    monkeypatch.setattr(
        importer.Importer, "run", lambda self: found.append(original(self)) or found[-1]
    )

    def call(function, *arguments, dynamic=False, **options):
        torch._dynamo.reset()
        run = compiled(function, dynamic, **options)
        run(*arguments)
        return run, found[-1]

    return call


def arena_of(caplog):
    """The bytes of the last capture's arena, from the log of its cost."""
    return int(re.findall(r"arena (\d+) bytes", caplog.text)[-1])


# In place.


def test_inplace_pass_needs_less_memory(runner_of, caplog):
    """Elementwise calls write over operands that nothing reads any more."""
    caplog.set_level(logging.INFO, "ostinato")
    x = torch.randn(256, 256) / 16

    def function(x):
        y = x @ x
        return torch.cos(torch.sin(torch.exp(y * 0.01)) + y) @ x

    arenas = []
    for on in (True, False):
        run, _ = runner_of(function, x, inplace_pass=on)
        torch.testing.assert_close(run(x), function(x), rtol=1e-4, atol=1e-4)
        arenas.append(arena_of(caplog))
    assert arenas[0] < arenas[1]


def twice(x, y):
    """Two writes, one after the other."""
    x.add_(y)
    x.mul_(2)
    return x.sum()


def read_before(x, y):
    """Reads what was there."""
    old = x * 3
    x.add_(y)
    return old


def read_after_in_graph(x, y):
    """Keeps a view and a copy of what was there."""
    old = x.clone()
    x.copy_(y)
    return old + x


def shifted(x, y):
    """Reads other elements than it writes."""
    x.copy_(x.roll(1, 0) + y)
    return x * 1


def swapped(x, y):
    """Both arguments change."""
    old = x.clone()
    x.copy_(y * 2)
    y.copy_(old + 1)
    return None


def broadcast(x, y):
    """A row of the argument is spread over all of it."""
    x.add_(x[0].clone())
    return y


def row_of_itself(x, y):
    """Overwrites a row with another of the same."""
    x[1] = x[0] * 2
    x[2:].copy_(y[2:])
    return x.sum(0)


def put(x, y):
    """Positions that a tensor names, twice the same."""
    x.index_put_((torch.tensor([1, 3, 1]),), y[:3] * 1, accumulate=True)
    x.index_copy_(0, torch.tensor([0, 2]), y[2:4] + 1)
    return x.scatter_(0, torch.zeros(1, 3, dtype=torch.int64), y[:1, :3]).mean()


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize(
    "function",
    [twice, read_before, read_after_in_graph, shifted, swapped, broadcast, row_of_itself, put],
)
def test_input_inplace_pass(function, on):
    """Arguments hold what eager leaves in them, whichever way they are written."""
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    run = compiled(function, input_inplace_pass=on)
    for _ in range(2):
        mine, theirs = (x.clone(), y.clone()), (x.clone(), y.clone())
        version = mine[0]._version
        torch.testing.assert_close(run(*mine), function(*theirs))
        torch.testing.assert_close(mine, theirs)
        assert mine[0]._version > version


def test_input_of_other_strides_is_written():
    """One that lies otherwise is staged, and written back."""
    x, y = torch.randn(3, 5).t(), torch.randn(5, 3)
    want = x.clone()
    twice(want, y)
    compiled(twice)(x, y)
    torch.testing.assert_close(x, want)


def test_overlapping_inputs():
    """compile_fx promises nothing of arguments: an overlap is found at each call."""

    def function(x, y):
        added = torch.ops.aten.add.Tensor(x, 1)
        result = torch.ops.aten.mul.Tensor(added, y)
        torch.ops.aten.copy_.default(x, added)
        return [result]

    gm = torch.fx.symbolic_trace(function)
    memory = torch.arange(8.0)
    run = compile_fx(gm, [memory[:4], memory[4:]])
    for x, y in ((memory[:4], memory[4:]), (memory[:4], memory[2:6]), (memory[:4], memory[:4])):
        memory.copy_(torch.arange(8.0))
        want = (x + 1) * y
        wanted_x = x + 1
        torch.testing.assert_close(run(x, y)[0], want)
        torch.testing.assert_close(x, wanted_x)


class Cache(torch.nn.Module):
    """A step of attention with a cache that stays where it is, as StaticCache does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("keys", torch.zeros(1, 2, 64, 8))
        self.register_buffer("values", torch.zeros(1, 2, 64, 8))

    def forward(self, x, position):
        """Writes one row of both, and attends all that is written."""
        self.keys.index_copy_(2, position, x)
        self.values.index_copy_(2, position, x + 1)
        mask = torch.arange(64)[None] <= position[:, None]
        return torch.nn.functional.scaled_dot_product_attention(
            x, self.keys, self.values, attn_mask=mask
        )


@pytest.mark.parametrize("on", [True, False])
def test_cache_is_not_copied(runner_of, on):
    """A step writes the row it has to, and not the cache."""
    module, oracle = Cache(), Cache()
    x = torch.randn(1, 2, 1, 8)
    run, runner = runner_of(module, x, torch.tensor([0]), input_inplace_pass=on)
    oracle(x, torch.tensor([0]))
    for step in range(1, 4):
        x = torch.randn(1, 2, 1, 8)
        torch.testing.assert_close(run(x, torch.tensor([step])), oracle(x, torch.tensor([step])))
    torch.testing.assert_close(module.keys, oracle.keys)
    torch.testing.assert_close(module.values, oracle.values)
    assert runner.statistics.written_back == (0 if on else 4 * 2 * module.keys.nbytes)


def test_remove_cat_ops(runner_of, caplog):
    """What a concatenation joins is computed in its place."""
    caplog.set_level(logging.INFO, "ostinato")

    def function(x, y):
        joined = torch.cat([torch.sin(x), y * 2, torch.cos(x)])
        return joined @ y + 1, torch.sin(x) + 1

    x, y = torch.randn(33, 32), torch.randn(32, 32)
    arenas = []
    for on in (True, False):
        run, _ = runner_of(function, x, y, remove_cat_ops=on)
        for got, want in zip(run(x, y), function(x, y), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
        arenas.append(arena_of(caplog))
    assert arenas[0] < arenas[1]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.cat([x + 1, x + 1]),
        lambda x: torch.cat([x, x + 1], 1),
        lambda x: torch.cat([(x + 1)[None], (x * 2)[None]], 1),
        lambda x: torch.cat([x * 2, torch.cat([x + 1, x - 1])]),
        lambda x: torch.cat([torch.exp(x), torch.exp(x) * 2])[1:].sum(1),
        lambda x: torch.cat([x + 1, x[:0] * 2, (x * 2)[:1]]) * 2,
    ],
)
def test_concatenations(function):
    """Of operands that are the same, inputs, views, concatenations, empty."""
    x = torch.randn(3, 5)
    torch.testing.assert_close(compiled(function)(x), function(x))


# Memory.


def test_graph_pool():
    """Graphs that are given one handle share memory; the arena is as large as the larger needs."""
    x = torch.randn(128, 128)
    handle = package.graph_pool_handle()
    pool = ",".join(map(str, handle))

    def function(x):
        return (torch.exp(x @ x * 0.01) @ x).sum()

    first = compiled(function, use_graph_pool=handle)
    torch.testing.assert_close(first(x), function(x), rtol=1e-4, atol=1e-2)
    alone = _engine.pool_bytes(pool)
    second = compiled(lambda x: function(x) + 1, use_graph_pool=handle)
    torch.testing.assert_close(second(x), function(x) + 1, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(first(x), function(x), rtol=1e-4, atol=1e-2)
    assert 0 < _engine.pool_bytes(pool) == alone
    assert package.graph_pool_handle() != handle


@pytest.mark.parametrize("handle", [(1,), (1, 2), (0, 0), (0, 1.0), (0, True)])
def test_bad_graph_pool(handle):
    """A handle is two ints, one of them zero."""
    with pytest.raises(TypeError, match="graph_pool_handle"):
        backend(None, [], options={"use_graph_pool": handle})


@pytest.mark.parametrize("reuse", [True, False])
def test_reuse_graph_pool_in_same_fx(runner_of, reuse):
    """Shapes of one graph share an arena, or have one each."""

    def function(x):
        return torch.exp(x @ x.t()) @ x

    options = {"dynamic": True, "reuse_graph_pool_in_same_fx": reuse}
    run, runner = runner_of(function, torch.randn(40, 8), **options)
    for rows in (20, 30):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(run(x), function(x), rtol=1e-4, atol=1e-3)
    assert runner.statistics.arenas == (1 if reuse else 3)


# Captures.


def test_static_kernel_compile(runner_of):
    """Sizes are constants in each capture: what they make a copy or a no-op goes."""

    def function(x):
        return x[:, 1:] + torch.ones(x.shape[0], 1) * 2

    steps = []
    for on in (True, False):
        x = torch.randn(6, 4)
        run, runner = runner_of(function, x, dynamic=True, static_kernel_compile=on)
        for rows in (6, 9):
            x = torch.randn(rows, 4)
            torch.testing.assert_close(run(x), function(x))
        assert runner.statistics.captures == 2
        steps.append(runner.statistics.steps)
    assert steps[0] < steps[1]


@pytest.mark.parametrize("mode", ["global", "thread_local", "relaxed"])
def test_capture_error_mode(inference, mode):
    """All are accepted: nothing disturbs a capture on the CPU."""
    assert compiled(lambda x: x + 1, capture_error_mode=mode)(torch.ones(2)).tolist() == [2, 2]
    assert not inference()


def test_capture_limit_is_on_record(inference):
    """An eviction says so; with strict it is an error."""
    run = compiled(lambda x: x * 2, dynamic=True, capture_limit=1)
    for rows in (2, 3, 2):
        assert run(torch.ones(rows)).tolist() == [2] * rows
    assert [record.code for record in inference()] == ["BUCKET_EVICTED"] * 2
    torch._dynamo.reset()
    run = compiled(lambda x: x * 2, dynamic=True, capture_limit=1, strict=True)
    run(torch.ones(2))
    with pytest.raises(package.CompileError, match="BUCKET_EVICTED"):
        run(torch.ones(3))
    assert run(torch.ones(3)).tolist() == [2] * 3


def test_force_recapture_counts(runner_of, caplog):
    """Captures that were forced are counted apart, and their cost is in the log."""
    caplog.set_level(logging.INFO, "ostinato")
    run, runner = runner_of(lambda x: x * 2, torch.ones(2), force_recapture=True)
    run(torch.ones(2))
    assert runner.statistics.captures == 2
    assert runner.statistics.recaptures == 1
    assert re.search(r"plan \d+\.\d ms.*2 captures, 1 of them forced", caplog.text)


def test_moved_parameter_is_on_record(inference):
    """A frozen parameter that lies elsewhere is noticed, and the result is right."""
    module, x = torch.nn.Linear(8, 4), torch.randn(3, 8)
    run = compiled(module, frozen_parameter=True)
    run(x)
    module.weight.data = torch.randn(4, 8)
    torch.testing.assert_close(run(x), module(x))
    assert [record.code for record in inference()] == ["ADDRESS_MOVED"]


def test_failed_capture(inference):
    """A shape that the engine refuses runs in PyTorch, on record; others replay."""
    run = compiled(lambda x: x + 1, dynamic=True)
    for columns in (3, 2**40, 5, 2**40):
        assert run(torch.empty(0, columns)).shape == (0, columns)
    assert [record.code for record in inference()] == ["CAPTURE_FAILED"] * 2
    torch._dynamo.reset()
    run = compiled(lambda x: torch.digamma(x + 1) + 1, dynamic=True)  # in several graphs
    assert run(torch.empty(0, 2**40)).shape == (0, 2**40)


# Records.


def test_graph_breaks_are_on_record(inference):
    """Each with its line and reason; with strict an error."""

    def function(x):
        x = x + 1
        print("a break")
        if x.sum() > 0:
            x = x * 2
        return x

    torch.compile(function, backend="ostinato")(torch.ones(3))
    records = inference()
    assert [record.code for record in records] == ["GRAPH_BREAK"] * 2
    assert all(re.search(r"test_torch_options.py:\d+ in ", record.source) for record in records)
    assert "jump" in records[1].detail
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"GRAPH_BREAK.*test_torch_options.py"):
        torch.compile(function, backend="ostinato", options={"strict": True})(torch.ones(3))


@pytest.mark.parametrize(
    "function",
    [lambda x: x * 2 if x.sum() > 0 else x, lambda x: x * x.sum().item()],
)
def test_control_flow_on_data_names_the_line(function):
    """Dynamo's error, or the engine's record, has the user's line."""
    try:
        got = compiled(function)(torch.ones(3))
    except Exception as error:
        assert "test_torch_options.py" in str(error)  # noqa: PT017
    else:
        torch.testing.assert_close(got, function(torch.ones(3)))
        assert any("test_torch_options.py" in record.source for record in package.records())
