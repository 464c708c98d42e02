"""The torch.compile backend: results, memory, shapes, threads, options, and what it refuses."""

import json
import os
import subprocess
import sys
import threading

import pytest
import torch
from one_graph import compiled

import ostinato as package
from ostinato import _engine
from ostinato.backend import compile_fx
from ostinato.backend import ostinato as backend

ROOT_OF_PACKAGE = package.__path__[0] + "/.."


pytestmark = pytest.mark.usefixtures("inference")


class Linear(torch.nn.Module):
    """One product and an activation."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)
        self.register_buffer("offset", torch.randn(4))

    def forward(self, x):
        """gelu(x W + b) + offset."""
        return torch.nn.functional.gelu(self.linear(x)) + self.offset


def same(got, want):
    """Equal up to rounding, with the same strides."""
    torch.testing.assert_close(got, want)
    assert got.stride() == want.stride()
    assert got.storage_offset() == want.storage_offset()


# Results and memory.


def test_structure():
    """Nested results, numbers and None come back as the function returns them."""

    def function(x):
        return {"a": (x + 1, None), "b": [x.shape[0], x * 2]}

    x = torch.randn(3, 4)
    got = compiled(function)(x)
    assert got["a"][1] is None
    assert got["b"][0] == 3
    same(got["a"][0], x + 1)
    same(got["b"][1], x * 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x + 1).t(),
        lambda x: (x + 1)[:, 1:3],
        lambda x: (x + 1)[1],
        lambda x: (x + 1).expand(2, *x.shape),
        lambda x: x.t() + 1,
        lambda x: (x.t() * 2).contiguous(),
        lambda x: (x + 1).unfold(1, 2, 1),
        lambda x: (x * 2).reshape(-1),
    ],
)
def test_strides(function):
    """Results lie in memory as eager's do."""
    x = torch.randn(4, 5)
    same(compiled(function)(x), function(x))


def test_results_share_memory_as_in_eager():
    """Two views of one intermediate are views of one storage."""

    def function(x):
        y = x + 1
        return y, y.t(), y[0]

    y, transposed, row = compiled(function)(torch.zeros(2, 3))
    y[0, 1] = 7
    assert transposed[1, 0] == 7
    assert row[1] == 7


def test_result_is_view_of_input():
    """A view of an input stays one."""
    x = torch.zeros(2, 3)
    view, _ = compiled(lambda x: (x.t()[1:], x + 1))(x)
    x[0, 1] = 7
    assert view[0, 0] == 7


@pytest.mark.parametrize(
    "make", [lambda: torch.randn(6, 4).t(), lambda: torch.randn(1, 6).expand(4, 6)]
)
def test_strided_inputs(make):
    """Inputs need not be contiguous."""
    x = make()
    same(compiled(lambda x: x * 2 + 1)(x), x * 2 + 1)


def test_input_lies_otherwise_than_traced():
    """compile_fx promises nothing of strides: each call looks."""
    graph = torch.fx.symbolic_trace(lambda x: torch.ops.aten.mul.Tensor(x, 2))
    run = compile_fx(graph_of_aten(graph), [torch.randn(4, 6)])
    x = torch.randn(6, 4).t()
    torch.testing.assert_close(run(x)[0], x * 2)


def graph_of_aten(gm):
    """The graph with a tuple as its result, as AOTAutograd makes it."""
    output = gm.graph.output_node()
    output.args = ([output.args[0]],)
    gm.recompile()
    return gm


def test_results_stay_valid():
    """A later call does not touch what an earlier one returned."""
    run = compiled(lambda x: x + 1)
    first = run(torch.zeros(3))
    run(torch.ones(3))
    assert first.tolist() == [1, 1, 1]


def test_zero_copy_reuses_results():
    """With zero_copy the next call writes to the same memory."""
    run = compiled(lambda x: x + 1, zero_copy=True)
    first = run(torch.zeros(3))
    run(torch.ones(3))
    assert first.tolist() == [2, 2, 2]


def test_input_is_written_back():
    """A function that changes its argument changes it, whatever its strides."""

    def function(x, y):
        x.add_(y)
        x[0].mul_(2)
        return x.sum()

    for x in (torch.ones(3, 2), torch.ones(2, 3).t()):
        want = x.clone()
        y = torch.rand(3, 2)
        total = function(want, y)
        version = x._version
        torch.testing.assert_close(compiled(function)(x, y), total)
        torch.testing.assert_close(x, want)
        assert x._version > version


def test_buffer_is_written_back():
    """A counter in a module counts."""

    class Counter(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

        def forward(self, x):
            self.count += 1
            return x * self.count

    module = Counter()
    run = compiled(module)
    assert [run(torch.ones(1)).item() for _ in range(3)] == [1, 2, 3]
    assert module.count == 3


def test_mutated_input_returned():
    """The argument itself is returned where eager returns it."""
    x = torch.zeros(3)
    got = compiled(lambda x: x.add_(1))(x)
    assert got is x
    assert x.tolist() == [1, 1, 1]


# Parameters.


def test_parameter_changed_in_place():
    """Weights packed for the old values are made anew."""
    module, x = Linear(), torch.randn(5, 8)
    run = compiled(module)
    same(run(x), module(x))
    module.linear.weight.mul_(2)
    same(run(x), module(x))
    module.linear.weight.data = torch.randn(4, 8)
    same(run(x), module(x))
    module.linear.bias = torch.nn.Parameter(torch.randn(4))
    same(run(x), module(x))


def test_frozen_parameter_skips_the_check():
    """The promise is taken at its word: a change makes no new program."""
    for frozen, programs in ((True, 1), (False, 2)):
        module, x = Linear(), torch.randn(5, 8)
        run, runner = runner_of(module, x, frozen_parameter=frozen)
        module.linear.weight.mul_(2)
        run(x)
        assert runner.statistics.programs == programs


def test_parameters_are_not_copied():
    """The program reads the parameters' own memory."""
    module, x = Linear(), torch.randn(5, 8)
    run = compiled(module, frozen_parameter=True)
    before = run(x)
    module.offset.add_(1)  # an elementwise operand is read where it lies
    torch.testing.assert_close(run(x), before + 1)


def test_parameters_of_inference_mode():
    """Tensors that count no writes are read at each call."""
    with torch.inference_mode():
        module, x = Linear(), torch.randn(5, 8)
        run = compiled(module)
        torch.testing.assert_close(run(x), module(x))
        module.linear.weight.mul_(2)
        torch.testing.assert_close(run(x), module(x))


# Shapes.


def test_dynamic_shapes(inference):
    """One graph of Dynamo's, a capture for each shape."""
    counter = torch._dynamo.testing.CompileCounterWithBackend("ostinato")
    run = torch.compile(
        lambda x: torch.softmax(x, -1).reshape(-1) * x.shape[0],
        backend=counter,
        dynamic=True,
        fullgraph=True,
    )
    for rows, columns in ((2, 3), (5, 3), (7, 9), (2, 3)):
        x = torch.randn(rows, columns)
        torch.testing.assert_close(run(x), torch.softmax(x, -1).reshape(-1) * rows)
    assert counter.frame_count == 1
    assert not inference()


def test_dynamic_results_are_views():
    """Sizes, strides and offsets of results follow the shape."""
    run = compiled(lambda x: ((x + 1)[1:].t(), x.shape[1] * 2), dynamic=True)
    for rows, columns in ((3, 4), (5, 6)):
        x = torch.randn(rows, columns)
        got, number = run(x)
        same(got, (x + 1)[1:].t())
        assert number == 2 * columns


def test_dynamic_number():
    """An int that is an argument becomes a part of the shape key."""
    run = compiled(lambda x, n: x[:, :n] * n, dynamic=True)
    x = torch.randn(3, 9)
    for n in (2, 5, 7):
        torch.testing.assert_close(run(x, n), x[:, :n] * n)


def runner_of(function, example, dynamic=True, **options):
    """The engine's runner behind a compiled function."""
    found = []

    def spy(gm, inputs, **kwargs):
        from ostinato import importer

        original = importer.Importer.run
        try:
            importer.Importer.run = lambda self: found.append(original(self)) or found[-1]
            return backend(gm, inputs, options=options)
        finally:
            importer.Importer.run = original

    torch._dynamo.reset()
    run = torch.compile(function, backend=spy, dynamic=dynamic, fullgraph=True)
    run(example)
    return run, found[0]


def test_capture_limit():
    """The capture used longest ago goes; the graph never turns eager."""
    run, runner = runner_of(lambda x: x * 2, torch.ones(2), capture_limit=2)
    for length in (3, 4, 2, 3, 4):
        assert run(torch.ones(length)).tolist() == [2] * length
    assert runner.statistics.captures == 6
    assert runner.statistics.evictions == 4


def test_force_recapture():
    """Every call captures anew."""
    run, runner = runner_of(lambda x: x * 2, torch.ones(2), force_recapture=True)
    for _ in range(3):
        run(torch.ones(2))
    assert runner.statistics.captures == 4


def test_remove_noop_ops():
    """Without the pass the no-ops stay."""
    texts = [
        runner_of(lambda x: (x + 0).clone() * 2, torch.ones(3), remove_noop_ops=on)[1].program_text
        for on in (True, False)
    ]
    assert "aten.clone" not in texts[0]
    assert "aten.clone" in texts[1]


def test_pattern_fusion_pass():
    """Without it attention comes in parts."""

    def function(x):
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)

    x = torch.randn(1, 2, 5, 4)
    texts = [
        runner_of(function, x, dynamic=False, pattern_fusion_pass=on)[1].program_text
        for on in (True, False)
    ]
    assert " = attention(" in texts[0]
    assert " = attention(" not in texts[1]


def test_force_eager():
    """Operator by operator, with the same result."""
    x = torch.randn(3, 8)
    module = Linear()
    torch.testing.assert_close(compiled(module, force_eager=True)(x), module(x))


@pytest.mark.parametrize("name", ["post_grad_custom_pre_pass", "post_grad_custom_post_pass"])
def test_custom_pass(name):
    """A pass edits the graph in place; a wrong one gives wrong results, also op by op."""

    def wrong(gm, example_inputs, config):
        for node in gm.graph.nodes:
            if node.target is torch.ops.aten.sin.default:
                node.target = torch.ops.aten.cos.default

    x = torch.randn(5)
    for force_eager in (False, True):
        got = compiled(torch.sin, force_eager=force_eager, **{name: wrong})(x)
        torch.testing.assert_close(got, torch.cos(x))
        torch._dynamo.reset()


def test_custom_pass_keeps_the_results():
    """One that gives another shape or number of them is refused by its name."""

    def reshapes(gm, example_inputs, config):
        output = gm.graph.output_node()
        with gm.graph.inserting_before(output):
            new = gm.graph.call_function(torch.ops.aten.unsqueeze.default, (output.args[0][0], 0))
        output.args = ([new],)

    def drops(gm, example_inputs, config):
        gm.graph.output_node().args = ([],)

    for wrong, text in ((reshapes, r"\(5\), torch.float32 of \(1, 5\)"), (drops, "0 results of 1")):
        torch._dynamo.reset()
        with pytest.raises(Exception, match=f"post_grad_custom_post_pass.*{text}"):
            compiled(torch.sin, post_grad_custom_post_pass=wrong)(torch.randn(5))
    with pytest.raises(TypeError, match="expected a torch.fx.GraphModule, got 3"):
        compile_fx(3)


def test_compile_fx_gives_what_the_graph_gives():
    """A tensor, or a list of them."""
    from torch.fx.experimental.proxy_tensor import make_fx

    x = torch.randn(3)
    for function in (torch.sin, lambda x: (torch.sin(x), x), lambda x: [torch.sin(x)]):
        want = function(x)
        got = compile_fx(make_fx(function)(x), [x])(x)
        assert isinstance(got, torch.Tensor) == isinstance(want, torch.Tensor)
        torch.testing.assert_close(list(got), list(want))


# Threads.


def test_threads():
    """Concurrent calls of one compiled module, over several shapes."""
    module = Linear()
    run = compiled(module, dynamic=True)
    inputs = [torch.randn(n, 8) for n in (2, 3, 5, 7)]
    want = [module(x) for x in inputs]
    run(inputs[0])
    failures = []

    def work(index):
        with torch.no_grad():
            for _ in range(50):
                if not torch.allclose(run(inputs[index]), want[index], atol=1e-5):
                    failures.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# What is missing or refused.


def test_shares_the_threads_of_openmp():
    """Replays start no threads of their own beside PyTorch's, from whichever thread they come."""
    assert _engine.share_openmp_threads()
    count = torch.get_num_threads()
    run = compiled(torch.nn.Linear(512, 512), threads=count)
    x = torch.randn(256, 512)
    want = run(x)

    def threads():
        return len(os.listdir("/proc/self/task"))

    torch.randn(1 << 20) + 1  # PyTorch starts its own
    before = threads()
    for _ in range(3):
        torch.testing.assert_close(run(x), want)
    assert threads() == before
    torch.set_num_threads(count + 1)  # another number than the engine's: each has its own
    try:
        torch.testing.assert_close(run(x), want)
    finally:
        torch.set_num_threads(count)


def test_missing_operator_runs_in_torch(inference):
    """Between two engine graphs, and on record."""

    def function(x):
        y = torch.linalg.inv(torch.relu(x) + 3 * torch.eye(3))
        return y @ x, y.t()

    x = torch.randn(3, 3)
    got = compiled(function)(x)
    for a, b in zip(got, function(x), strict=True):
        torch.testing.assert_close(a, b)
    records = inference()
    assert records
    assert all(record.code == "OPERATOR_MISSING" for record in records)
    assert any("linalg" in record.operator for record in records)
    assert all("test_torch_backend.py" in record.source for record in records)
    assert json.loads(package.records(as_json=True))


def test_unsupported_dtype_runs_in_torch(inference):
    """float64 is none of the engine's dtypes."""
    x = torch.randn(3, dtype=torch.float64)
    torch.testing.assert_close(compiled(lambda x: (x * 2).float() + 1)(x), (x * 2).float() + 1)
    assert inference()


def test_strict_raises():
    """A fallback is an error, which names the operator and the line."""
    with pytest.raises(Exception, match=r"OPERATOR_MISSING.*linalg.*test_torch_backend"):
        compiled(lambda x: torch.linalg.inv(x), strict=True)(torch.eye(3))


def test_random_numbers_are_refused():
    """A replay would repeat them."""
    with pytest.raises(Exception, match=r"RNG_IN_CAPTURE.*rand.*test_torch_backend"):
        compiled(lambda x: x + torch.rand_like(x))(torch.ones(3))
    torch._dynamo.reset()
    run = compiled(lambda x: x + torch.rand_like(x), force_eager=True)
    assert not torch.equal(run(torch.ones(3)), run(torch.ones(3)))


def test_records_name_the_users_line():
    """Not that of PyTorch's own layer."""
    with pytest.raises(Exception, match=r"RNG_IN_CAPTURE.*dropout at .*test_torch_backend"):
        dropout = torch.nn.Dropout()
        compiled(lambda x: dropout(x) + 1)(torch.ones(3))


def test_collectives_run_in_torch(inference, tmp_path):
    """Between two engine graphs, as they should: nothing is on record."""
    from torch import distributed

    def function(x):
        y = x * 2
        distributed.all_reduce(y)
        return y + 1

    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        assert compiled(function, strict=True)(torch.ones(3)).tolist() == [3, 3, 3]
    finally:
        distributed.destroy_process_group()
    assert not inference()


def test_backward_runs_in_torch(inference):
    """Training is left to PyTorch, on record."""
    module = Linear()
    with torch.enable_grad():
        compiled(module)(torch.randn(2, 8)).sum().backward()
    assert module.linear.weight.grad is not None
    assert [record.code for record in inference()] == ["BACKWARD"]


def test_index_out_of_range():
    """An error of the engine's, with its line; the next call works."""
    table = torch.randn(4, 2)
    run = compiled(lambda i: torch.nn.functional.embedding(i, table))
    run(torch.tensor([1]))
    with pytest.raises(package.Error, match="index out of range") as raised:
        run(torch.tensor([9]))
    assert raised.value.code == "invalid_argument"
    assert raised.value.hint
    torch.testing.assert_close(run(torch.tensor([3])), table[3:])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"capture_limits": 3}, ValueError, "Did you mean 'capture_limit'.*frozen_parameter"),
        ({"capture_limit": 0}, ValueError, "capture_limit"),
        ({"capture_limit": "3"}, TypeError, "an int"),
        ({"capture_limit": True}, TypeError, "an int"),
        ({"strict": 1}, TypeError, "a bool"),
        ({"capture_error_mode": "never"}, ValueError, "thread_local"),
        ({"post_grad_custom_pre_pass": 3}, TypeError, "a callable"),
        ({"device": "gpu"}, ValueError, "cpu"),
        ({"clone_output": True, "zero_copy": True}, ValueError, "contradict"),
    ],
)
def test_bad_options(options, error, text):
    """A wrong name or value is named, with the valid ones."""
    with pytest.raises(error, match=text):
        backend(None, [], options=options)


def test_unusable_option(inference):
    """An option without a meaning on the CPU says so."""
    x = torch.ones(2)
    assert compiled(lambda x: x + 1, super_kernel_optimize=True)(x).tolist() == [2, 2]
    assert [record.code for record in inference()] == ["OPTION_UNUSABLE"]


def test_import_without_torch():
    """The package, the error type and the version need no PyTorch."""
    code = (
        "import sys; sys.modules['torch'] = None; import ostinato;"
        "assert ostinato.__version__ and issubclass(ostinato.Error, RuntimeError);"
        "from ostinato.options import make_options; make_options({'strict': True})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ROOT_OF_PACKAGE})


def test_stubs_name_everything():
    """The type stubs list what the extension has."""
    from pathlib import Path

    text = (Path(_engine.__file__).parent / "_engine.pyi").read_text()
    for name in vars(_engine):
        if not name.startswith("__"):
            assert name in text, name
