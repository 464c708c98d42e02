"""What start-up keeps: methods compiled on disk. The oracle is PyTorch's eager mode."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import ostinato as package
from ostinato import artifact, inference, method
from ostinato.inference import cache_compile, readable_cache

PACKAGE = Path(package.__path__[0]).parent


pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture
def traces(monkeypatch):
    """How many graphs were compiled."""
    seen = []
    original = method.compile_dynamo_graph
    monkeypatch.setattr(
        method, "compile_dynamo_graph", lambda *args: (seen.append(1), original(*args))[1]
    )
    return seen


class Decoder(torch.nn.Module):
    """Weights, a buffer that is written to, and settings."""

    def __init__(self, scale=2.0):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(8, 4)
        self.register_buffer("total", torch.zeros(4))
        self.scale = scale

    def step(self, x, cache, start=0, flag=True):
        """Results in a structure; writes to an argument and to a buffer."""
        y = torch.relu(self.linear(x)) * self.scale + start
        cache[0].add_(y.sum(0))
        self.total.add_(1)
        return {"y": y if flag else -y, "more": (x, y[0], y.shape[0] * 2, None)}

    def forward(self, x):
        """No effects."""
        return self.linear(x) + self.scale


def check(module, compiled, rows=5, **arguments):
    """One call against eager's, with its effects."""
    x, caches, total = torch.randn(rows, 8), [torch.zeros(4)], module.total.clone()
    versions = caches[0]._version, module.total._version
    got = compiled(x, caches, **arguments)
    assert caches[0]._version > versions[0] and module.total._version > versions[1]
    written = module.total.clone()
    module.total.copy_(total)
    expected_caches = [torch.zeros(4)]
    want = module.step(x, expected_caches, **arguments)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(caches, expected_caches)
    torch.testing.assert_close(written, module.total)
    assert got["more"][0] is x
    assert type(got["more"][2]) is int


def compiled(module, folder, **more):
    """As another process would make it."""
    torch._dynamo.reset()
    return cache_compile(module.step, cache_dir=folder, **more)


def only_file(folder):
    """The one stored trace."""
    (path,) = [p for p in folder.rglob("compiled_module*") if p.is_file()]
    return path


def details(records):
    """What the misses say."""
    return [record.detail for record in records() if record.code == "CACHE_MISS"]


def test_hit_skips_tracing(tmp_path, traces, recorded):
    """Miss, hit, other sizes, and other weights in place, all as in eager mode."""
    module = Decoder()
    first = compiled(module, tmp_path)
    check(module, first)
    check(module, first, rows=7)
    assert len(traces) == 1
    second = compiled(module, tmp_path)
    check(module, second)
    check(module, second, rows=9)
    module.linear.weight.mul_(3)
    check(module, second)
    module.linear.weight = torch.nn.Parameter(torch.randn(4, 8))
    check(module, second)
    assert len(traces) == 1
    assert details(recorded) == []
    path = only_file(tmp_path)
    assert path.relative_to(tmp_path).parts[1:] == ("step", "compiled_module")
    assert path.parts[-3].startswith("Decoder_dynamic_ostinatocache_")
    assert path.stat().st_mode & 0o777 == 0o600


def test_calls_that_do_not_fit_are_traced(tmp_path, traces, recorded):
    """Each constant, and each size that was taken for one, has a trace; all of them are found."""
    module = Decoder()
    calls = [{}, {"flag": False}, {"rows": 1}, {"start": 2.5}]
    for _ in range(2):
        run = compiled(module, tmp_path)
        for arguments in calls:
            check(module, run, **arguments)
        assert len(traces) == len(calls)
    assert all("are for other calls" in text for text in details(recorded))
    static = compiled(module, tmp_path, dynamic=False)
    for rows in (5, 6):
        check(module, static, rows=rows)
    assert len(traces) == len(calls) + 2
    assert any(path.name.startswith("Decoder_static_") for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: setattr(m, "scale", 3.0), "the module's classes or settings"),
        (lambda m: m.eval(), "the module's classes or settings"),
        (lambda m: m.double().float().linear.register_parameter("bias", None), "printed form"),
    ],
)
def test_another_module_is_another_key(change, reason, tmp_path, traces, recorded):
    """The key knows the module's settings, not only its class; the record says which."""
    module = Decoder()
    check(module, compiled(module, tmp_path))
    change(module)
    check(module, compiled(module, tmp_path))
    assert len(traces) == 2
    assert reason in details(recorded)[-1]


def test_changed_within_a_process(tmp_path, traces):
    """`train()` and `eval()` are noticed between calls."""

    class Dropping(Decoder):
        def step(self, x, cache, start=0, flag=True):
            return super().step(x if not self.training else x * 2, cache, start, flag)

    module = Dropping()
    run = compiled(module, tmp_path)
    for training in (True, False, True):
        module.train(training)
        check_plain(module, run)
    assert len(traces) == 2


def check_plain(module, run):
    """The main result against eager's."""
    x = torch.randn(3, 8)
    torch.testing.assert_close(run(x, [torch.zeros(4)])["y"], module.step(x, [torch.zeros(4)])["y"])


def test_options_and_passes_are_in_the_key(tmp_path, traces, recorded):
    """Other options, another body of a custom pass, other decompositions, another PyTorch."""

    def custom(number):
        namespace = {}
        exec(f"def custom(gm, example_inputs, config):\n    return {number}", namespace)
        return namespace["custom"]

    module = Decoder()
    relu = torch.ops.aten.relu.default
    for options, decompositions, reason in [
        ({}, None, None),
        ({"remove_noop_ops": False}, None, "the option remove_noop_ops"),
        ({"post_grad_custom_pre_pass": custom(1)}, None, "the option"),
        ({"post_grad_custom_pre_pass": custom(2)}, None, "the option post_grad_custom_pre_pass"),
        ({}, {relu: lambda x: torch.clamp(x, min=0)}, "custom_decompositions"),
    ]:
        check(
            module,
            compiled(module, tmp_path, options=options, custom_decompositions=decompositions),
        )
        assert reason is None or reason in details(recorded)[-1]
    assert len(traces) == 5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9.9")
        check(module, compiled(module, tmp_path))
    assert len(traces) == 6
    assert "9.9.9" in details(recorded)[-1]


# Files that are not as they were written.


def truncated(path):
    """Without its end."""
    path.write_bytes(path.read_bytes()[:-40])


def flipped(path):
    """One bit is another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path):
    """Nothing in it."""
    path.write_bytes(b"")


def other_format(path):
    """From a later version."""
    path.write_bytes(path.read_bytes().replace(b"ostinato.cache 1", b"ostinato.cache 99", 1))


def open_to_others(path):
    """Readable by everybody."""
    path.chmod(0o644)


def symbolic_link(path):
    """Lying elsewhere."""
    elsewhere = path.parent.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def fifo(path):
    """Nothing that ends."""
    path.unlink()
    os.mkfifo(path, 0o600)


def no_call(path):
    """A call of what is no description."""
    rewrite(path, lambda document: document["calls"].insert(0, ["__class__"]))


def rewrite(path, change):
    """A change under a right checksum: as another version or a hostile hand would write it."""
    document, elements = artifact.read_file(path)
    change(document)
    document.pop("sizes")
    artifact.write_file(path, document, elements)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "checksum"),
        (flipped, "checksum"),
        (empty, "no file of the cache"),
        (other_format, "format 99"),
        (open_to_others, "mode 600"),
        (symbolic_link, "symbolic link"),
        (fifo, "no regular file"),
        (no_call, "no call"),
        (lambda path: rewrite(path, lambda d: d["key"].update(torch="1.0")), "another key"),
        (lambda path: rewrite(path, lambda d: d.pop("results")), "results"),
        (lambda path: rewrite(path, lambda d: d.update(graph="x")), "expected"),
    ],
)
def test_damaged_file_is_replaced(damage, reason, tmp_path, traces, recorded):
    """It is taken away with a record, and written again."""
    module = Decoder()
    check(module, compiled(module, tmp_path))
    path = only_file(tmp_path)
    damage(path)
    check(module, compiled(module, tmp_path))
    assert len(traces) == 2
    assert reason in details(recorded)[-1]
    check(module, compiled(module, tmp_path))
    assert len(traces) == 2
    assert not path.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["file", "folder", "root"])
def test_owned_by_somebody_else(what, tmp_path, traces, recorded):
    """Nothing of others is read; in their folders nothing is written or removed."""
    module, root = Decoder(), tmp_path / "cache"
    check(module, compiled(module, root))
    path = only_file(root)
    target = {"file": path, "folder": path.parent, "root": root}[what]
    os.chown(target, 12345, -1)
    check(module, compiled(module, root))
    assert len(traces) == 2
    assert "belongs to the user 12345" in " ".join(details(recorded))
    if what == "file":
        assert path.stat().st_uid == 0
    else:
        assert target.stat().st_uid == 12345


def test_folder_is_a_link(tmp_path, traces, recorded):
    """A folder that leads elsewhere is not followed."""
    module, root = Decoder(), tmp_path / "cache"
    check(module, compiled(module, root))
    (folder,) = root.iterdir()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    check(module, compiled(module, root))
    assert len(traces) == 2
    assert "is no folder" in details(recorded)[-1]


# What cannot be stored runs all the same.


class Odd(Decoder):
    """Methods with something that data cannot say."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def counts(self, x):
        """Changes an attribute."""
        self.calls += 1
        return self.linear(x)

    def appends(self, x, found):
        """Changes an argument's structure."""
        found.append(self.linear(x))
        return found[0] + 1

    def in_torch(self, x):
        """Needs an operator that the engine does not have."""
        return torch.linalg.svdvals(self.linear(x)) + 1


@pytest.mark.parametrize("name", ["counts", "appends", "in_torch"])
def test_not_stored(name, tmp_path, traces, recorded):
    """The right results, from torch.compile, and a record that says why."""
    module = Odd()
    x, more = torch.randn(5, 8), [[]] if name == "appends" else []
    run = cache_compile(getattr(module, name), cache_dir=tmp_path)
    for _ in range(2):
        more = [[]] if more else []
        torch.testing.assert_close(run(x, *more), getattr(Odd(), name)(x, *([[]] if more else [])))
    assert module.calls == (2 if name == "counts" else 0)
    assert len(more) == 0 or len(more[0]) == 1
    assert "cannot be stored" in details(recorded)[0]
    assert not list(tmp_path.rglob("compiled_module"))


def test_gradients_run_in_eager_mode(tmp_path, traces, recorded):
    """With a record BACKWARD."""
    module = Decoder()
    run = cache_compile(module.forward, cache_dir=tmp_path)
    with torch.enable_grad():
        run(torch.randn(3, 8)).sum().backward()
    assert module.linear.weight.grad is not None
    assert [record.code for record in recorded()] == ["BACKWARD"]
    assert not traces


def test_wrong_arguments():
    """What is not a bound method, a wrong rank, a wrong option."""
    with pytest.raises(TypeError, match="bound method"):
        cache_compile(torch.relu)
    with pytest.raises(TypeError, match="bound method"):
        cache_compile(Decoder())
    with pytest.raises(ValueError, match="tp_rank"):
        cache_compile(Decoder().forward, tp_rank=-1)
    with pytest.raises(ValueError, match="there is no option"):
        cache_compile(Decoder().forward, options={"stric": True})


def test_ranks_and_environment(tmp_path, monkeypatch):
    """The path says whose trace it is; OSTINATO_CACHE_DIR says where, else the working folder."""
    monkeypatch.setenv("OSTINATO_CACHE_DIR", str(tmp_path / "there"))
    module = Decoder()
    cache_compile(module.forward, global_rank=3, tp_rank=1, pp_rank=0)(torch.randn(3, 8))
    path = only_file(tmp_path / "there")
    assert path.parts[-3:] == ("world1global_rank3_tp_rank1_pp_rank0", "forward", "compiled_module")
    monkeypatch.delenv("OSTINATO_CACHE_DIR")
    monkeypatch.chdir(tmp_path)
    cache_compile(module.forward)(torch.randn(3, 8))
    assert (tmp_path / inference.ROOT).is_dir()


def test_shared_and_tied_tensors(tmp_path, traces):
    """An argument that is another one, and one that shares its memory, are other traces."""

    class Pair(torch.nn.Module):
        def forward(self, x, y):
            x.add_(y)
            return x * y

    run = cache_compile(Pair().forward, cache_dir=tmp_path)
    for make in [
        lambda: (torch.ones(4), torch.ones(4)),
        lambda: (torch.ones(4),) * 2,
        lambda: (lambda base: (base[:4], base.view(8)[:4]))(torch.arange(8.0)),
        lambda: (torch.ones(4), torch.ones(4)),
    ]:
        given, wanted = make(), make()
        torch.testing.assert_close(run(*given), Pair()(*wanted))
        torch.testing.assert_close(given, wanted)


def test_size_conditions_are_kept(tmp_path, traces):
    """A size that the method asks about decides which trace is taken."""

    class Asking(torch.nn.Module):
        def forward(self, x):
            return x * 2 if x.shape[0] > 10 else x + 1

    for _ in range(2):
        torch._dynamo.reset()
        run = cache_compile(Asking().forward, cache_dir=tmp_path)
        for rows in (4, 20, 10, 11):
            x = torch.randn(rows, 3)
            torch.testing.assert_close(run(x), Asking()(x))
    assert len(traces) == 2


def test_threads(tmp_path, traces):
    """Calls at once trace once."""
    module = Decoder()
    run = cache_compile(module.forward, cache_dir=tmp_path)
    x = torch.randn(5, 8)
    results = [None] * 4

    def work(i):
        with torch.no_grad():
            results[i] = run(x)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result in results:
        torch.testing.assert_close(result, module(x))
    assert len(traces) == 1


def test_readable_cache(tmp_path, capsys):
    """Text with the graph; printed and written where asked; links are refused."""
    module = Decoder()
    check(module, compiled(module, tmp_path / "cache"))
    path = only_file(tmp_path / "cache")
    text = readable_cache(path)
    assert capsys.readouterr().out == text + "\n"
    assert "aten.relu" in text and "tensor linear.weight" in text and "torch: " in text
    assert readable_cache(path, print_output=False, file=tmp_path / "text") == text
    assert capsys.readouterr().out == ""
    assert (tmp_path / "text").read_text() == text
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(artifact.UnusableFileError, match="symbolic link"):
        readable_cache(tmp_path / "link")
    (tmp_path / "out").symlink_to(tmp_path / "text")
    with pytest.raises(artifact.UnusableFileError):
        readable_cache(path, False, tmp_path / "out")


# Processes.

_SCRIPT = """
import json, sys
import torch
sys.path[:0] = sys.argv[1:3]
import model
from ostinato import records
from ostinato.inference import cache_compile

torch.manual_seed(0)
module = model.Model()
with torch.inference_mode():
    run = cache_compile(module.forward, cache_dir=sys.argv[3])
    x = torch.randn(6, 8)
    torch.testing.assert_close(run(x), module(x))
graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
print(json.dumps([graphs, [record.detail for record in records()]]))
"""
_MODEL = """
import torch
import helper
class Settings:  # as transformers' generation_config
    def __init__(self):
        self._original_object_hash = hash("this process")
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)
        self.settings = Settings()
        self.kinds = {"one", "two", "three"}
    def forward(self, x):
        if x.dtype in {"one", "two", "three"}:
            x = x + 1
        return helper.scaled(self.linear(x))
"""


def start(tmp_path):
    """A process that compiles the model of the folder and checks it against eager mode."""
    command = [sys.executable, "-c", _SCRIPT, str(tmp_path), str(PACKAGE), str(tmp_path / "cache")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process):
    """Its number of traced graphs and its misses."""
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return json.loads(output)


def test_processes(tmp_path):
    """Two at once, then a hit, then with another source of a function that is only called."""
    (tmp_path / "model.py").write_text(_MODEL)
    (tmp_path / "helper.py").write_text("def scaled(x):\n    return x * 2\n")
    for process in [start(tmp_path), start(tmp_path)]:
        assert finish(process) in ([1, []], [0, []])
    assert finish(start(tmp_path)) == [0, []]
    (tmp_path / "helper.py").write_text("def scaled(x):\n    return x * 3\n")
    graphs, reasons = finish(start(tmp_path))
    assert graphs == 1
    assert "helper.py has changed" in reasons[0]
