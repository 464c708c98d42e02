"""The reference kernels compute what PyTorch computes, operator by operator."""

import subprocess

import pytest
import torch
from op_cases.harness import REGISTRY, check
from safetensors.torch import save_file


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_parity(name, ostinato, tmp_path):
    """Every case of the operator, in one graph and one process."""
    check(name, ostinato, tmp_path)


def test_every_operator_has_cases(tools):
    """A row of the operator table without cases fails, and so do cases without a row."""
    listed = subprocess.run([tools / "list_ops"], capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) == set(REGISTRY)


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("aten.remainder.Scalar(%0) {other=0}", [1, 2]),
        ('aten.div.Tensor_mode(%0, %0) {rounding_mode="floor"}', [3, 0]),
        ("aten.fmod.Tensor(%0, %0)", [0, 1]),
        ("aten.index_select(%0, %0) {dim=0}", [0, 2]),
    ],
)
def test_bad_operand_is_an_error(statement, values, run, tmp_path):
    """Division of integers by zero, and an index out of range."""
    graph, inputs = tmp_path / "bad.graph", tmp_path / "inputs.safetensors"
    graph.write_text(
        'ostinato.graph 1 "bad"\ninput %0 "x" : int64(2)\n'
        f'%1 : int64(2) = {statement}\noutput "y" %1\n'
    )
    save_file({"x": torch.tensor(values)}, inputs)
    done = run("run", graph, "--inputs", inputs, "--mode", "reference", check=False)
    assert done.returncode == 2
    assert "zero divisor" in done.stderr
