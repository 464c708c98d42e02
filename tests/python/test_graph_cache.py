"""The automatic cache behind torch.compile. The oracle is PyTorch's eager mode."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ostinato as package
from ostinato import artifact, backend, graph_cache
from ostinato.guards import Knowledge, UnstorableError, evaluate
from ostinato.inference import readable_cache

PACKAGE = Path(package.__path__[0]).parent


pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture
def traces(monkeypatch):
    """How many graphs AOTAutograd traced."""
    seen = []
    original = backend._trace
    monkeypatch.setattr(backend, "_trace", lambda *args: (seen.append(1), original(*args))[1])
    return seen


class Step(torch.nn.Module):
    """Weights, a float, and writes to a buffer and to an argument."""

    def __init__(self, width=4, scale=0.5):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(8, width)
        self.register_buffer("total", torch.zeros(width))
        self.scale = scale

    def forward(self, x, cache):
        """Results of several types."""
        y = torch.nn.functional.gelu(self.linear(x)) * self.scale
        cache.add_(y.sum(0))
        self.total.add_(1)
        return {"y": y, "rows": x.shape[0] * 2, "t": (y + 1).t()}


def started(function, **more):
    """As another process would compile it."""
    torch._dynamo.reset()
    more = {"dynamic": True, "fullgraph": True} | more
    return torch.compile(function, backend="ostinato", **more)


def check(module, compiled, rows=5):
    """One call against eager's, with its effects."""
    x, width = torch.randn(rows, 8), module.total.shape[0]
    caches, total = [torch.zeros(width), torch.zeros(width)], module.total.clone()
    versions = caches[0]._version, module.total._version
    got = compiled(x, caches[0])
    assert caches[0]._version > versions[0] and module.total._version > versions[1]
    written = module.total.clone()
    module.total.copy_(total)
    want = module(x, caches[1])
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(*caches)
    torch.testing.assert_close(written, module.total)
    assert got["t"].stride() == want["t"].stride()
    assert type(got["rows"]) is int


def check_new():
    """A first call of a module."""
    module = Step()
    check(module, started(module))


def files():
    """The stored traces."""
    return sorted(Path(os.environ["OSTINATO_CACHE_DIR"]).glob("graphs/*/*/trace*"))


def misses(recorded):
    """What the records say."""
    assert all(record.code == "CACHE_MISS" for record in recorded())
    return [record.detail for record in recorded()]


def test_hit_skips_tracing(traces, recorded):
    """A second start traces nothing, and reads the weights and sizes of its own calls."""
    check_new()
    assert len(traces) == len(files()) == 1
    module = Step()
    run = started(module)
    for rows in (5, 9):
        check(module, run, rows)
    module.linear.weight.mul_(-3)
    check(module, run)
    module.linear.weight = torch.nn.Parameter(torch.randn(4, 8))
    check(module, run)
    assert len(traces) == 1
    assert misses(recorded) == []
    (path,) = files()
    assert path.stat().st_mode & 0o777 == 0o600
    text = readable_cache(path, print_output=False)
    assert "aten.gelu" in text and "torch: " in text and "write_back" in text


def test_shared_memory_and_failed_captures(traces, recorded):
    """Results of a hit share memory as in eager mode; what cannot be captured runs in PyTorch."""
    for _ in range(2):
        run = started(lambda x: ((y := x + 1), y[:, 1:]))
        for columns in (3, 2**40, 5):
            whole, part = run(torch.empty(0, columns))
            assert whole.shape == (0, columns) and part.shape == (0, columns - 1)
        whole, part = run(torch.zeros(3, 4))
        part.zero_()
        torch.testing.assert_close(whole.sum(), torch.tensor(3.0))
    assert len(traces) == 2  # no rows, and some
    assert [record.code for record in recorded()] == ["CAPTURE_FAILED"] * 2


def test_float_arguments(traces, recorded):
    """They stay inputs of a stored graph; a branch over one takes its own."""

    def function(x, scale):
        y = (x * scale).sin() + scale
        return y * 2 if scale > 1 else y

    for _ in range(2):
        run = started(function)
        for scale in (0.1, 1 / 3, 2.5, -0.0, 1.5):
            x = torch.randn(5)
            torch.testing.assert_close(run(x, scale), function(x, scale))
    assert len(traces) <= 3
    assert misses(recorded) == []


def test_other_modules_are_traced(traces, recorded):
    """Other shapes of weights, dtypes, floats and options are another trace each, then found."""
    variants = [
        (Step(), {}),
        (Step(width=6), {}),
        (Step(scale=0.25), {}),
        (Step(), {"dynamic": False}),
        (Step(), {"options": {"pattern_fusion_pass": False}}),
        (Step(), {"options": {"threads": 1}}),
    ]
    for _ in range(2):
        for module, more in variants:
            check(module, started(module, **more))
        assert len(traces) == len(files()) == len(variants)
    function = lambda x: x * 2 + 1  # noqa: E731
    for dtype in (torch.float32, torch.bfloat16, torch.int64):
        x = torch.arange(3).to(dtype)
        torch.testing.assert_close(started(function)(x), function(x))
    assert len(files()) == len(variants) + 3
    assert any("the option threads (0 then, 1 now)" in text for text in misses(recorded))


_BODIES = """
x + y | y + x | x - y | x - y * 2 | x - y * 2.0 | torch.sub(x, y, alpha=2)
x.sum(0) + y | x.sum(1) + y | x.sum(0, keepdim=True) + y | x.sum((0, 1)) + y
x[1:] + y[1:] | x[:2] + y[1:] | x[1] + y | x[1:2] + y | x[..., 1] + y | x[:, None] + y
x * 0.1 + y | x * 0.1000000000000001 + y | x / 0.0 + y | x / -0.0 + y | x * float("inf") + y
x + y, x | x + y, y * 1 | [x + y] | [y * 1, x + y] | (x + y).bfloat16() | (x + y).double().float()
x.clamp(0) + y | x.clamp(max=0) + y | x.gelu() + y if 0 else torch.nn.functional.gelu(x) + y
torch.nn.functional.gelu(x, approximate="tanh") + y | x.sin() + y | x.cos() + y
torch.cat([x, y]) | torch.cat([y, x]) | torch.cat([x, y], 1) | torch.stack([x, y]) + 0
x.t() + y | x.transpose(0, 1).contiguous() + y | x.reshape(-1)[:3] + y | x.flip(0) + y
torch.ones(3) + y + x | torch.zeros(3) + y + x | torch.full((3,), 2.0) + y + x
torch.ones(3, dtype=torch.int32) + y + x | torch.arange(3) + y + x | torch.arange(1, 4) + y + x
"""


def test_functions_that_differ_little(traces, recorded):
    """Functions of one name on one line: each is traced, and then each finds its own."""
    bodies = [body.strip() for body in _BODIES.replace("\n", "|").split("|") if body.strip()]
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    for _ in range(2):
        traces.clear()
        for body in bodies:
            names = {"torch": torch}
            exec(f"def function(x, y): return {body}", names)
            got = started(names["function"], dynamic=False)(x, y)
            want = names["function"](x, y)
            torch.testing.assert_close(got, want, equal_nan=True, msg=body)
    assert len(traces) == 1  # float64 is none of the engine's dtypes


def test_moved_source_is_traced(traces, tmp_path, monkeypatch):
    """A record names lines of code: they are those of this source."""
    monkeypatch.syspath_prepend(tmp_path)
    x = torch.randn(3)
    for text in ("def moved(x):\n    return x + 1\n", "\n\ndef moved(x):\n    return x + 1\n"):
        (tmp_path / "moved.py").write_text(text)
        names = {}
        exec(compile(text, str(tmp_path / "moved.py"), "exec"), names)
        torch.testing.assert_close(started(names["moved"])(x), x + 1)
    assert len(traces) == 2


@pytest.mark.parametrize("what", ["torch", "ostinato"])
def test_other_versions(traces, recorded, monkeypatch, what):
    """A trace of another version is not used, and the record says so."""
    module = Step()
    check(module, started(module))
    if what == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    else:
        monkeypatch.setattr(graph_cache.fingerprint, "of_package", lambda: "other")
    check(module, started(module))
    assert len(traces) == 2
    (text,) = misses(recorded)
    assert text.startswith(f"other than in the stored trace: {what} (")


def test_settings_of_torch(traces):
    """What a traced operator reads beside its arguments is in the key."""

    def function(x):
        return torch.ones(3) * x

    x = torch.ones(3, dtype=torch.int64)
    for dtype in (torch.float32, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            assert started(function)(x).dtype == dtype
        finally:
            torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module = torch.nn.Linear(8, 4)
        assert started(module)(torch.randn(2, 8)).dtype == torch.bfloat16
    assert started(module)(torch.randn(2, 8)).dtype == torch.float32
    assert len(traces) == 4


@pytest.fixture
def stored():
    """A module and the file of its trace."""
    module = Step()
    check(module, started(module))
    return module, files()[0]


def _flip(at):
    def damage(path):
        data = bytearray(path.read_bytes())
        data[at(len(data))] ^= 1
        path.write_bytes(data)

    return damage


def _rewrite(change):
    def damage(path):
        document, elements = artifact.read_file(path)
        del document["sizes"]
        change(document)
        artifact.write_file(path, document, elements)

    return damage


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "first byte": _flip(lambda size: 0),
    "checksum": _flip(lambda size: 30),
    "middle": _flip(lambda size: size // 2),
    "last byte": _flip(lambda size: size - 1),
    "format": lambda path: path.write_bytes(path.read_bytes().replace(b"cache 1", b"cache 99", 1)),
    "key": _rewrite(lambda document: document["key"].update(torch="9.9")),
    "graph": _rewrite(lambda document: document.update(graph="nonsense")),
    "call": _rewrite(lambda document: document["calls"].append(["eval", "1"])),
    "condition": _rewrite(lambda document: document["conditions"].append(["eval", "s0"])),
    "missing": _rewrite(lambda document: document.pop("calls")),
    "open to others": lambda path: path.chmod(0o644),
    "open folder": lambda path: path.parent.chmod(0o777),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_unusable_files(stored, traces, recorded, name):
    """They are not used and on record; what is ours is replaced."""
    module, path = stored
    DAMAGES[name](path)
    check(module, started(module))
    assert len(traces) == 1
    assert len(misses(recorded)) == 1
    path.parent.chmod(0o700)
    check(module, started(module))
    assert len(traces) == 1
    assert len(files()) == 1


def test_links_and_folders(stored, traces, recorded, tmp_path):
    """A link in the file's place is not followed; a folder there is no reason to stop."""
    module, path = stored
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    check(module, started(module))
    assert "symbolic link" in misses(recorded)[0]
    assert not path.is_symlink()
    path.unlink()
    path.mkdir()
    check(module, started(module))
    assert len(traces) == 2


def test_folder_that_cannot_be(traces, tmp_path, monkeypatch):
    """Without a place for the cache graphs compile as usual."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("OSTINATO_CACHE_DIR", str(folder))
        check_new()
    monkeypatch.delenv("OSTINATO_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    check_new()
    assert len(traces) == 3
    assert len(list(tmp_path.glob("caches/ostinato/graphs/*/*/trace"))) == 1


def test_conditions_on_sizes_are_kept(monkeypatch, recorded):
    """What tracing asked of sizes guards the stored trace, and Dynamo's graph that it is for."""
    traced = []
    original = backend._trace

    def trace(gm, example_inputs, *more):
        """As if the trace held only below 8 rows, or only from there on."""
        traced.append(1)
        compiled = original(gm, example_inputs, *more)
        sizes = [item for item in example_inputs if isinstance(item, torch.SymInt)]
        bool(sizes[0] * 2 < 16)
        return compiled

    monkeypatch.setattr(backend, "_trace", trace)
    calls = []
    find = graph_cache.GraphCache.find
    monkeypatch.setattr(
        graph_cache.GraphCache, "find", lambda self: (calls.append(1), find(self))[1]
    )
    starts = [((5, 7), 1), ((20, 30), 2), ((5, 7, 20, 30), 2), ((20, 30, 5, 7), 2)]
    for sizes, count in starts:
        calls.clear()
        run = started(lambda x: x.sin() + 1)
        for rows in sizes:
            x = torch.randn(rows, 8)
            torch.testing.assert_close(run(x), x.sin() + 1)
        assert len(calls) == len(sizes) // 2  # Dynamo knows the conditions again
        assert len(traced) == count
    assert "stored traces are for other sizes" in misses(recorded)[0]
    assert [path.name for path in files()] == ["trace", "trace.1"]


def test_knowledge_of_sizes():
    """Equal sizes, bounds and products are told and found again."""
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

    env = ShapeEnv()
    sizes = {}
    for name, hint in (("a", 12), ("b", 4), ("c", 4)):
        symbol = env.create_symbol(hint, ConstantSource(name), DimDynamic.DYNAMIC, None)
        size = env.create_symintnode(symbol, hint=hint, source=ConstantSource(name))
        sizes[str(symbol)] = size
    a, b, c = sizes.values()
    knowledge = Knowledge(env)
    text = knowledge.text()
    assert knowledge.since(set(sizes)) == []
    assert bool(a // b == 3) and bool(b == c) and bool(torch.sym_max(a, b) % 5 == 2)
    found = knowledge.since(set(sizes))
    assert Knowledge(env).text() != text
    assert knowledge.text() != text
    names = list(sizes)
    for values, holds in (((12, 4, 4), True), ((12, 4, 5), False), ((9, 3, 3), False)):
        symbols = dict(zip(names, values, strict=True))
        assert all(evaluate(item, symbols) for item in found) is holds
    with pytest.raises(UnstorableError, match="no argument tells"):
        knowledge.since(set(names[:1]))


@torch._dynamo.allow_in_graph
def opaque(x):
    """A function that Dynamo puts into the graph as it is."""
    return x * 2


NOT_STORED = {
    "function of others": lambda x: opaque(x) + 1,
    "alias of an input": lambda x: (x + 1, x.t()),
    "other operator": lambda x: torch.linalg.inv(x + 3 * torch.eye(3)),
    "size that data decides": lambda x: x[x > 0] + 1,
}


@pytest.mark.parametrize("name", NOT_STORED)
def test_what_is_not_stored(traces, name):
    """It compiles as usual, at every start."""
    function, x = NOT_STORED[name], torch.eye(3)
    for count in (1, 2):
        torch.testing.assert_close(started(function)(x), function(x))
        assert len(traces) == count
    assert files() == []


def test_custom_operators_are_not_stored(traces):
    """Their source is not in the graph."""
    with torch.library._scoped_library("ostinato_test", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")
        function = lambda x: torch.ops.ostinato_test.twice(x) + 1  # noqa: E731
        x = torch.randn(3)
        torch.testing.assert_close(started(function)(x), x * 2 + 1)
        library.impl("twice", lambda x: x * 3, "CompositeImplicitAutograd", allow_override=True)
        torch.testing.assert_close(started(function)(x), x * 3 + 1)
    assert files() == []


def test_custom_passes_and_scopes_are_not_stored(traces):
    """Nor are graphs that code outside the graph has a part in."""
    x = torch.randn(3)

    def edit(gm, example_inputs, config):
        for node in gm.graph.find_nodes(op="call_function", target=torch.ops.aten.add.Tensor):
            node.args = (node.args[0], node.args[1] + offset)

    def limited(x):
        with package.scope.limit_core_num(1, 1):
            return x * 2

    for offset in (1, 2):
        run = started(lambda x: x + 1, options={"post_grad_custom_post_pass": edit})
        torch.testing.assert_close(run(x), x + 1 + offset)
    torch.testing.assert_close(started(limited)(x), x * 2)
    assert len(traces) == 3
    assert files() == []


def test_switch(traces):
    """PyTorch's switch for its caches is one for this too."""
    with torch.compiler.config.patch(force_disable_caches=True):
        check_new()
    assert files() == []


def test_oldest_go(monkeypatch):
    """The cache is bounded."""
    monkeypatch.setattr(graph_cache, "_KEPT", 3)
    for width in range(5):
        started(torch.sin, dynamic=False)(torch.randn(width))
    kept = files()
    assert len(kept) == 3
    assert len(list(kept[0].parents[1].iterdir())) == 3


# Processes.

_SCRIPT = """
import json, sys
import torch
sys.path[:0] = sys.argv[1:3]
import model
from ostinato import records
from ostinato.backend import ostinato

torch.manual_seed(0)
module = model.Model()
with torch.inference_mode():
    run = torch.compile(module, backend=ostinato, dynamic=True)
    for rows in (6, 9):
        x = torch.randn(rows, 8)
        torch.testing.assert_close(run(x), module(x))
graphs = torch._dynamo.utils.counters["aot_autograd"]["total"]
print(json.dumps([graphs, [record.detail for record in records()]]))
"""
_MODEL = """
import torch
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)
    def forward(self, x):
        return self.linear(x) * 2
"""


def test_processes(tmp_path):
    """A second one traces nothing but Dynamo's graph; one with another source traces again."""

    def graphs_and_misses():
        command = [sys.executable, "-c", _SCRIPT, str(tmp_path), str(PACKAGE)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=100, check=True)
        return json.loads(done.stdout)

    for factor, traced in ((2, 1), (2, 0), (3, 1)):
        (tmp_path / "model.py").write_text(_MODEL.replace("* 2", f"* {factor}"))
        assert graphs_and_misses() == [traced, []]
