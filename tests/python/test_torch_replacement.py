"""Rules that users register, custom passes, and scopes of the torch.compile backend."""

import pytest
import torch
from one_graph import compiled

import ostinato as package
from ostinato import _engine, replacement
from ostinato.backend import compile_fx

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture(autouse=True)
def no_rules(monkeypatch):
    """With no rule registered before."""
    monkeypatch.setattr(replacement, "_rules", replacement._Rules())


def norm(x, weight, eps):
    """RMSNorm, as models write it."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def marked(x, weight, eps):
    """What no optimisation of RMSNorm would give, so that a match shows."""
    return torch.sin(x) * weight + eps


EXAMPLES = [torch.randn(2, 3), torch.randn(3)]
SCALARS = {"eps": 1.25e-3}


# Rules.


@pytest.mark.parametrize("dynamic", [False, True])
def test_rule(dynamic):
    """Applies whatever the sizes and the scalar, and only where everything fits."""
    assert package.register_replacement(norm, marked, EXAMPLES, scalar_workaround=SCALARS)
    run = compiled(lambda x, w: norm(x, w, 1e-5) + norm(x, w, 1e-6), dynamic=dynamic)
    for rows in (4, 6) if dynamic else (4,):
        x, w = torch.randn(rows, 5), torch.randn(5)
        torch.testing.assert_close(run(x, w), marked(x, w, 1e-5) + marked(x, w, 1e-6))
    other = compiled(lambda x, w: x * torch.rsqrt(x.pow(2).mean(0, keepdim=True) + 1e-5) * w)
    want = x * torch.rsqrt(x.pow(2).mean(0, keepdim=True) + 1e-5) * w
    torch.testing.assert_close(other(x, w), want)


def test_rule_of_an_operator_kept_whole():
    """`linear` reaches the rules whole."""

    def search(x, w):
        return torch.nn.functional.linear(x, w).relu()

    def replace(x, w):
        return torch.nn.functional.linear(x, w).abs()

    package.register_replacement(search, replace, [torch.randn(2, 3), torch.randn(4, 3)])
    x, w = torch.randn(5, 6), torch.randn(7, 6)
    torch.testing.assert_close(compiled(search)(x, w), replace(x, w))


def test_rule_needs_pattern_fusion_pass():
    """The option switches rules off."""
    package.register_replacement(lambda x: torch.cos(x), lambda x: x * 2, [torch.randn(3)])
    x = torch.randn(3)
    torch.testing.assert_close(compiled(torch.cos)(x), x * 2)
    torch._dynamo.reset()
    torch.testing.assert_close(compiled(torch.cos, pattern_fusion_pass=False)(x), torch.cos(x))


def test_extra_check(inference):
    """Decides by the match; one that raises leaves the graph as it is, on record."""

    def search(x):
        return torch.cos(x) + 1

    def wide(match):
        return match.kwargs["x"].meta["val"].shape[-1] > 4

    package.register_replacement(search, lambda x: x * 2, [torch.randn(3)], extra_check=wide)
    for size in (3, 5):
        x = torch.randn(size)
        torch.testing.assert_close(compiled(search)(x), x * 2 if size > 4 else search(x))
        torch._dynamo.reset()

    def broken(match):
        raise KeyError("no such thing")

    package.register_replacement(
        lambda x: torch.tan(x), lambda x: x * 2, [torch.randn(3)], extra_check=broken
    )
    torch.testing.assert_close(compiled(torch.tan)(x), torch.tan(x))
    record = inference()[-1]
    assert record.code == "PASS_SKIPPED"
    assert "no such thing" in record.detail


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (lambda x: x.sum(), "of 1 dims.*of 0 dims"),
        (lambda x: x.double(), "float32.*float64"),
        (lambda x: (x, x), "expected 1 results, got 2"),
        (lambda x: x[:2], r"the shape \(3,\).*\(2,\)"),
        (lambda x, y: x, r"takes \['x'\].*\['x', 'y'\]"),
        (lambda x: x.add_(1), "writes to a tensor"),
        (lambda x: torch.rand_like(x), "random"),
        (lambda x: x.nope(), "replace_fn raised.*nope"),
    ],
)
def test_bad_rule(replace, reason):
    """Is refused with the reason, and changes nothing."""
    with pytest.raises(ValueError, match=reason):
        package.register_replacement(lambda x: torch.cos(x), replace, [torch.randn(3)])
    x = torch.randn(3)
    torch.testing.assert_close(compiled(torch.cos)(x), torch.cos(x))


def test_bad_search():
    """So is one whose pattern would match anything, or with wrong examples."""
    with pytest.raises(ValueError, match="calls no operator"):
        package.register_replacement(lambda x: x, lambda x: x, [torch.randn(3)])
    with pytest.raises(ValueError, match="does not use"):
        package.register_replacement(lambda x, y: x.cos(), lambda x, y: x, [torch.ones(3)] * 2)
    with pytest.raises(ValueError, match="expected 1 example inputs"):
        package.register_replacement(lambda x: torch.cos(x), lambda x: x, [])
    with pytest.raises(ValueError, match="scalar_workaround"):
        package.register_replacement(norm, marked, EXAMPLES, scalar_workaround={"epsilon": 1.0})


def test_rule_that_fits_only_some_shapes(inference):
    """Where the results would differ the match is left alone, on record."""
    package.register_replacement(
        lambda x: torch.cos(x), lambda x: torch.sin(x).reshape(2, -1), [torch.randn(2, 3)]
    )
    x = torch.randn(3, 2)
    torch.testing.assert_close(compiled(torch.cos)(x), torch.cos(x))
    assert [record.code for record in inference()] == ["PASS_SKIPPED"]
    x = torch.randn(2, 5)
    torch.testing.assert_close(compiled(torch.cos)(x), torch.sin(x))


def test_duplicates():
    """Raise, unless they are to be skipped."""
    rule = (lambda x: torch.cos(x), lambda x: x * 2, [torch.randn(3)])
    assert package.register_replacement(*rule)
    with pytest.raises(RuntimeError, match="[Dd]uplicate"):
        package.register_replacement(*rule)
    assert not package.register_replacement(*rule, skip_duplicates=True)
    assert replacement.registered() == 1


def test_pattern_instead_of_tracing():
    """A pattern of PyTorch's matcher stands for the traced one."""
    from torch._inductor.pattern_matcher import CallFunction, KeywordArg

    pattern = CallFunction(torch.ops.aten.cos.default, KeywordArg("x"))
    package.register_replacement(
        lambda x: torch.cos(x), lambda x: x * 2, [torch.randn(3)], search_fn_pattern=pattern
    )
    x = torch.randn(4)
    torch.testing.assert_close(compiled(torch.cos)(x), x * 2)


# Custom passes.


def test_custom_passes_get_graph_inputs_and_options():
    """Real example inputs, and the options; what the passes add runs; rules lie between them."""
    seen = []
    package.register_replacement(lambda x: torch.cos(x), lambda x: torch.sin(x), [torch.randn(3)])

    def swap(old, new):
        def edit(gm, example_inputs, config):
            tensors = [x for x in example_inputs if isinstance(x, torch.Tensor)]
            seen.append((tensors[0].dim(), len(example_inputs), config.capture_limit))
            for node in gm.graph.find_nodes(op="call_function", target=old):
                with gm.graph.inserting_after(node):
                    added = gm.graph.call_function(new, node.args)
                node.replace_all_uses_with(added)
                gm.graph.erase_node(node)
            return "ignored"

        return edit

    aten = torch.ops.aten
    run = compiled(
        lambda x: torch.tan(x) + 1,
        dynamic=True,
        capture_limit=7,
        post_grad_custom_pre_pass=swap(aten.tan.default, aten.cos.default),
        post_grad_custom_post_pass=swap(aten.sin.default, aten.exp.default),
    )
    x = torch.randn(3, 4)
    torch.testing.assert_close(run(x), torch.exp(x) + 1)
    assert seen == [(2, 3, 7), (2, 3, 7)]  # two sizes and the tensor


def test_custom_pass_that_raises_stops():
    """It must raise where it is unsure."""

    def unsure(gm, example_inputs, config):
        raise LookupError("unsure")

    with pytest.raises(Exception, match="unsure"):
        compiled(torch.cos, post_grad_custom_post_pass=unsure)(torch.ones(2))


def test_custom_pass_of_compile_fx():
    """The example inputs come from the graph."""
    seen = []
    gm = torch.fx.symbolic_trace(lambda x: (torch.ops.aten.cos.default(x),))
    options = {"post_grad_custom_pre_pass": lambda gm, inputs, config: seen.extend(inputs)}
    compile_fx(gm, [torch.randn(3)], options)
    assert [tuple(item.shape) for item in seen] == [(3,)]


# Scopes.


def test_limit_of_cores_around_a_call():
    """Caps the threads of replays, nests, and ends."""
    x = torch.randn(64, 256) * 0.05
    run = compiled(lambda x: torch.exp(x @ x.t()), threads=2)
    want = torch.exp(x @ x.t())
    torch.testing.assert_close(run(x), want)
    with package.scope.limit_core_num(1, 0):
        assert _engine.limited_threads(2) == 1
        torch.testing.assert_close(run(x), want)
        with package.scope.limit_core_num(_engine.default_threads(), 0):
            assert _engine.limited_threads(2) == 1  # the tightest holds
    assert _engine.limited_threads(2) == 2
    with pytest.raises(ZeroDivisionError), package.scope.limit_core_num(1, 1):
        raise ZeroDivisionError
    assert _engine.limited_threads(2) == 2


def test_limit_of_cores_in_a_graph():
    """Caps the operators in the scope, in one graph, and runs."""
    from ostinato import importer

    seen = {}
    original = importer.threads_of

    def spy(node):
        seen[node.target] = original(node)
        return seen[node.target]

    def function(x):
        y = torch.exp(x)
        with package.scope.limit_core_num(1, 0):
            y = torch.sin(y)
        return torch.cos(y)

    x = torch.randn(4, 5)
    importer.threads_of = spy
    try:
        torch.testing.assert_close(compiled(function)(x), function(x))
    finally:
        importer.threads_of = original
    aten = torch.ops.aten
    assert seen == {aten.exp.default: 0, aten.sin.default: 1, aten.cos.default: 0}


@pytest.mark.parametrize("numbers", [(0, 0), (1, -1), (10**6, 0), (1, 10**6)])
def test_limit_of_cores_out_of_range(numbers):
    """Is refused."""
    with pytest.raises(ValueError, match="_num in "):
        package.scope.limit_core_num(*numbers)
    with pytest.raises(TypeError, match="as ints, got '1'"):
        package.scope.limit_core_num("1", 0)


def test_limit_of_cores_split_by_a_break():
    """A scope cannot lie in two graphs."""

    def function(x):
        with package.scope.limit_core_num(1, 0):
            x = torch.sin(x)
            print("a break")
            return torch.cos(x)

    x = torch.randn(3)
    try:
        got = torch.compile(function, backend="ostinato")(x)
    except Exception as error:
        assert "limit_core_num" in str(error)  # noqa: PT017
    else:
        torch.testing.assert_close(got, function(x))  # Dynamo left the frame to Python
    assert _engine.limited_threads(2) == 2
