"""The device is where the tensors lie: what of it needs no GPU, on fake tensors of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import ostinato as package
from ostinato import _engine, importer
from ostinato.backend import compile_fx
from ostinato.backend import ostinato as backend
from ostinato.options import Options, make_options
from ostinato.placement import device_of, kind_of, placed

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture(scope="module", autouse=True)
def built_for_gpus():
    """The engine must have been built with the device."""
    try:
        runner_on_gpu()([torch.ones(4)])
    except _engine.Error as error:
        if "expected a build" in error.message:
            pytest.skip(error.message)


@pytest.fixture()
def fake():
    """Makes tensors that say they lie on a device, as PyTorch traces with."""
    with FakeTensorMode() as mode:
        yield lambda *sizes, device="cuda:0", **more: torch.empty(*sizes, device=device, **more)
        assert mode is not None


@pytest.fixture()
def imported(monkeypatch):
    """The importers of what is compiled."""
    found = []
    original = importer.Importer.run
    monkeypatch.setattr(importer.Importer, "run", lambda self: found.append(self) or original(self))
    return found


def test_the_device_is_that_of_the_tensors(fake):
    """Numbers on the CPU go with any device, as in PyTorch."""
    assert device_of([]) == "cpu"
    assert device_of([fake(2, device="cpu"), fake((), device="cpu")]) == "cpu"
    assert device_of([fake(2), fake((), device="cpu"), fake(3)]) == "cuda:0"
    assert device_of([fake(2, device="cuda:1")]) == "cuda:1"
    assert (kind_of("cpu"), kind_of("null"), kind_of("cuda:1")) == ("cpu", "cpu", "cuda")


def test_several_devices_are_an_error(fake):
    """Which names them, and what to do."""
    with pytest.raises(ValueError, match=r"2 on cpu, 1 on cuda:0: move the model") as raised:
        device_of([fake(2, device="cpu"), fake(2), fake(3, device="cpu")])
    assert "tensor.to(device)" in str(raised.value)
    with pytest.raises(ValueError, match=r"1 on cuda:0, 1 on cuda:1"):
        device_of([fake(2, device="cuda:1"), fake(2)])


def test_the_option_must_agree(fake):
    """It may leave the number out."""
    on_gpu, on_cpu = [fake(2, device="cuda:1")], [fake(2, device="cpu")]
    assert placed(make_options({}), on_gpu).device == "cuda:1"
    assert placed(make_options({}), on_cpu).device == "cpu"
    assert placed(make_options({"device": "cpu"}), on_cpu).device == "cpu"
    assert placed(make_options({"device": "null"}), on_cpu).device == "null"
    for asked in ("cuda", "cuda:1"):
        assert placed(Options(device=asked), on_gpu).device == "cuda:1"
    for asked, given in (("cpu", on_gpu), ("cuda:0", on_gpu), ("cuda", on_cpu), ("null", on_gpu)):
        with pytest.raises(ValueError, match=f"expected the tensors on {asked}.*leave the option"):
            placed(Options(device=asked), given)


def traced(function, *tensors):
    """The ATen graph of a function of fake tensors."""
    return make_fx(function)(*tensors)


def test_a_graph_of_tensors_on_a_gpu_is_the_engines(fake, imported, recorded):
    """Strided arguments and views as results among it."""

    def function(x, w):
        y = torch.nn.functional.relu(x.t() @ w)
        return y, y.narrow(0, 1, 3)

    gm = traced(function, fake(8, 4), fake(8, 6))
    compile_fx(gm)
    assert imported[0].device == "cuda:0"
    assert imported[0].options.runner_options()["device"] == "cuda:0"
    assert len(imported[0].levels) == 1 and not imported[0].outside
    assert not recorded()


def test_mixed_graphs_are_refused(fake):
    """By compile_fx, before anything is made of them."""
    gm = traced(lambda x, y: (x + 1, y + 1), fake(8), fake(8, device="cpu"))
    with pytest.raises(ValueError, match="1 on cpu, 1 on cuda:0"):
        compile_fx(gm)


def test_the_backend_takes_the_device_from_dynamo(fake, imported):
    """Of parameters and inputs, symbolic sizes included."""
    torch._dynamo.reset()
    linear = torch.nn.Linear(4, 6, device="meta").eval()
    linear.weight = torch.nn.Parameter(fake(6, 4), requires_grad=False)
    linear.bias = torch.nn.Parameter(fake(6), requires_grad=False)
    compiled = torch.compile(linear, backend=backend, dynamic=True, fullgraph=True)
    with pytest.raises(package.Error):  # the call itself needs memory that is there
        compiled(fake(5, 4))
    assert imported[0].device == "cuda:0"
    assert len(imported[0].levels) == 1 and not imported[0].outside
    assert imported[0].plan.constants()


def runner_on_gpu():
    """One that adds a tensor to itself."""
    graph = _engine.Graph("sum")
    x = graph.add_input("x", "float32", [4])
    graph.add_output(graph.call("aten.add.Tensor", {"self": x, "other": x}, "")[0])
    runner = _engine.Runner(graph, {"device": "cuda:0"})
    runner.take_input("x", [])
    runner.give_output(0)
    return runner


def test_runners_need_the_number_of_the_gpu():
    """As tensors have one."""
    with pytest.raises(package.Error, match="as in cuda:0"):
        _engine.Runner(_engine.Graph("sum"), {"device": "cuda"})


def test_calls_on_the_stand_in_driver(tools):
    """Arguments, results, writes, weights and faults, in a process that has no other driver."""
    script = Path(__file__).with_name("on_a_stand_in.py")
    library = tools / "libcuda.so.1"
    if not library.exists():
        pytest.skip("the stand-in driver is not built")
    environment = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OSTINATO_PERSISTENT": "off",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # every trace is made, and not found
    }
    done = subprocess.run(
        [sys.executable, script, library],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_a_call_without_a_gpu_says_what_is_missing():
    """The driver, with what to do."""
    with pytest.raises(package.Error, match="driver") as raised:
        runner_on_gpu()([torch.ones(4)])
    assert raised.value.hint
