"""Eyes: the debug tree, dumps, and the search for what is wrong."""

import subprocess
import sys

import pytest
import torch

import ostinato as package
from ostinato.backend import ostinato as backend

FOLDER_OF_PACKAGE = package.__path__[0] + "/.."


pytestmark = pytest.mark.usefixtures("inference")


class Model(torch.nn.Module):
    """Two layers, and a buffer that counts."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(8, 16)
        self.second = torch.nn.Linear(16, 4)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        """tanh between them."""
        self.count += 1
        return self.second(torch.tanh(self.first(x))) * self.count


SCRIPT = """
import torch
from torch._dynamo.backends.registry import list_backends, register_backend
from ostinato.backend import ostinato

if "ostinato" not in list_backends():
    register_backend(ostinato, name="ostinato")

def edit(gm, example_inputs, config):
    pass

table = torch.tensor([2.0, 3.0])
options = {"post_grad_custom_post_pass": edit}

def function(x, w):
    return torch.nn.functional.linear(x, w).relu() * table.sum() + x.shape[0]

with torch.no_grad():
    run = torch.compile(function, backend="ostinato", dynamic=True, options=options)
    run(torch.randn(3, 4), torch.randn(2, 4))
"""


def test_debug_tree(tmp_path):
    """Every graph after every rewrite, the log, and code that runs."""
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {"PYTHONPATH": FOLDER_OF_PACKAGE, "TORCH_COMPILE_DEBUG": "1"}

    def run(path, **more):
        arguments = [sys.executable, path]
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environment | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("script.py")
    (folder,) = tmp_path.glob("torch_compile_debug/run_*/ostinato")
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    forward = "model__0/forward"
    assert names == [
        "debug.log",
        "model__0/dynamo_out_graph.txt",
        f"{forward}/000_aot_forward_graph.txt",
        f"{forward}/001_aot_forward_graph_after_post_grad_custom_post_pass.txt",
        f"{forward}/engine_graph_0.txt",
        f"{forward}/output_code.py",
    ]
    assert "captured" in (folder / "debug.log").read_text()
    assert "ostinato.linear" in (folder / forward / "000_aot_forward_graph.txt").read_text()
    assert "aten.relu" in (folder / forward / "engine_graph_0.txt").read_text()
    code = folder / forward / "output_code.py"
    assert run(code, TORCH_COMPILE_DEBUG="0") == "the same\n"


# Dumps.


@pytest.mark.parametrize("stage", ["optimized", "original"])
def test_dump(tmp_path, stage):
    """Inputs and every node's value, call by call; the results are the same."""
    options = {"dump_tensor_data": True, "data_dump_stage": stage, "data_dump_dir": str(tmp_path)}

    def function(x, y):
        z = torch.sin(x) * y
        x.add_(1)
        return z.sum(0)

    run = torch.compile(function, backend="ostinato", fullgraph=True, options=options)
    for count in range(2):
        x, y = torch.randn(3, 4), torch.randn(3, 4)
        old, want_x = x.clone(), x + 1
        sin = torch.sin(x)
        torch.testing.assert_close(run(x, y), (sin * y).sum(0))
        torch.testing.assert_close(x, want_x)
        folder = tmp_path / "worldsize1_global_rank0"
        torch.testing.assert_close(torch.load(folder / f"sin_device_cpu_{count}.pt"), sin)
        stem = f"mul_device_cpu_{count}.pt"
        torch.testing.assert_close(torch.load(folder / stem), sin * y)
        arguments = [torch.load(path) for path in folder.glob(f"arg*_device_cpu_{count}.pt")]
        assert any(torch.equal(argument, y) for argument in arguments)
        assert any(torch.equal(argument, old) for argument in arguments)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"data_dump_stage": "later"}, ValueError),
        ({"dump_tensor_data": True, "data_dump_dir": "/no/such/folder"}, FileNotFoundError),
    ],
)
def test_bad_dump_options(options, error):
    """Are refused before anything is compiled."""
    with pytest.raises(error):
        backend(None, [], options=options)


def test_save_tensor(tmp_path, inference):
    """One tensor inside a graph, at each call, without a record."""
    path = tmp_path / "x.pt"

    def function(x):
        y = torch.sin(x)
        package.save_tensor(y, str(path))
        return torch.cos(y)

    run = torch.compile(function, backend="ostinato", fullgraph=True)
    for _ in range(2):
        x = torch.randn(4)
        torch.testing.assert_close(run(x), torch.cos(torch.sin(x)))
        torch.testing.assert_close(torch.load(path), torch.sin(x))
    assert not inference()


# What is wrong?


def test_bisect_finds_nothing():
    """In a model that is right; its state stays as it was."""
    model = Model()
    found = package.bisect(model, (torch.randn(3, 8),))
    assert found.stage == "", str(found)
    assert model.count == 0


def test_bisect_finds_a_wrong_pass():
    """By its name, with the operator and the line."""

    def wrong(gm, example_inputs, config):
        for node in gm.graph.find_nodes(op="call_function", target=torch.ops.aten.tanh.default):
            node.target = torch.ops.aten.sin.default

    found = package.bisect(
        Model(), {"x": torch.randn(3, 8) * 3}, options={"post_grad_custom_pre_pass": wrong}
    )
    assert (found.stage, found.culprit) == ("rewrite", "post_grad_custom_pre_pass")
    assert (found.node, found.operator) == ("tanh", "aten.sin")
    assert "test_torch_debug.py" in found.source
    assert "pass or rule" in str(found)


@pytest.mark.parametrize("stage", ["force_eager", "graph"])
def test_bisect_finds_a_wrong_kernel(monkeypatch, stage):
    """An operator that the engine gets wrong, op by op or only in the graph."""
    from ostinato import importer

    original = importer.operator_name

    def wrong(target):
        name = original(target)
        return "aten.cos" if name == "aten.tanh" and wrong.on else name

    class Importer(importer.Importer):
        """Imports wrongly in one mode."""

        def run(self):
            """Sets what `wrong` looks at."""
            wrong.on = stage == "force_eager" or not self.options.force_eager
            try:
                return super().run()
            finally:
                wrong.on = False

    wrong.on = False
    monkeypatch.setattr(importer, "operator_name", wrong)
    monkeypatch.setattr("ostinato.backend.Importer", Importer)
    found = package.bisect(Model(), (torch.randn(3, 8) * 3,))
    assert (found.stage, found.node, found.operator) == (stage, "tanh", "aten.tanh")
    assert "test_torch_debug.py" in found.source
