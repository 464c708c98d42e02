"""The reference kernels compute what PyTorch computes, operator by operator."""

import subprocess

import pytest
from op_cases.harness import REGISTRY, check


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_parity(name, ostinato, tmp_path):
    """Every case of the operator, in one graph and one process."""
    check(name, ostinato, tmp_path)


def test_every_operator_has_cases(tools):
    """A row of the operator table without cases fails, and so do cases without a row."""
    listed = subprocess.run([tools / "list_ops"], capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) == set(REGISTRY)
