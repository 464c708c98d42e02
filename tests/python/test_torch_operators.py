"""Every operator of the engine, through the backend's import, against PyTorch.

The cases are those of the reference kernels (`op_cases`); here the graph mode's kernels compute
them, on arguments and results that are torch's tensors.
"""

import collections

import pytest
import torch
from op_cases import fx
from op_cases.harness import DTYPES, REGISTRY, flat, is_strided, value_of

from ostinato import _engine, records
from ostinato.backend import compile_fx

# The engine's own have no place in an FX graph: passes make them.
OPERATORS = [name for name in _engine.op_names() if "." in name]
LEAST = 1500  # cases of each kind; what is not made here is tested nowhere


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name):
    """All its cases in one graph, none of them in PyTorch."""
    assert name in REGISTRY, f"tests/python/op_cases has no cases of {name}"
    calls = fx.calls_of(name)
    graph = fx.GraphOfCalls(name, calls)
    before = len(records())
    with torch.no_grad():
        results = compile_fx(graph.module())(*graph.arguments)
    assert not records()[before:]
    problems = fx.problems_of(calls, results)
    assert not problems, f"{len(problems)} of {len(calls)}\n" + "\n".join(problems[:12])


def test_count():
    """How many cases there are, and of which kinds."""
    kinds = collections.Counter()
    for name in OPERATORS:
        for case in fx.chosen_cases(name):
            tensors = [value_of(o) for o in flat(case.operands.values()) if o is not None]
            kinds["all"] += 1
            kinds["broadcast"] += len({tensor.shape for tensor in tensors}) > 1
            kinds["strided"] += is_strided(case)
            kinds["empty"] += any(tensor.numel() == 0 for tensor in tensors)
            kinds.update({tensor.dtype for tensor in tensors})
    print(len(OPERATORS), "operators,", dict(kinds))
    for kind in ("all", "broadcast", "strided", "empty", *DTYPES):
        assert kinds[kind] >= LEAST, kind
