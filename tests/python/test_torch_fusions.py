"""What transformers models write by hand, with eager attention, becomes the engine's operators."""

import collections
import re

import pytest
import torch
import transformers

from ostinato import importer
from ostinato.backend import ostinato as backend

SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "attn_implementation": "eager",
}


def bert():
    """One layer of BERT."""
    return transformers.BertModel(transformers.BertConfig(**SIZES))


def qwen3():
    """One layer of Qwen3, whose pairs of heads share keys."""
    config = transformers.Qwen3Config(num_key_value_heads=2, head_dim=16, use_cache=False, **SIZES)
    return transformers.Qwen3Model(config)


def operators(model, arguments, monkeypatch, **options):
    """The model's first result, and how often the engine's graph calls each operator."""
    runners, original = [], importer.Importer.run

    def run(self):
        runners.append(original(self))
        return runners[-1]

    monkeypatch.setattr(importer.Importer, "run", run)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend, dynamic=False, options=options)
    with torch.no_grad():
        got = compiled(**arguments)[0]
    monkeypatch.undo()
    (runner,) = runners
    return got, collections.Counter(re.findall(r" = ([\w.]+)\(", runner.program_text))


@pytest.mark.parametrize("family", [bert, qwen3])
def test_eager_attention(family, monkeypatch):
    """Attention is one call; Qwen3's reads neither a mask nor repeated heads."""
    torch.manual_seed(0)
    model = family().eval()
    arguments = {"input_ids": torch.randint(1, 99, (2, 7))}
    with torch.no_grad():
        want = model(**arguments)[0]
    got, before = operators(model, arguments, monkeypatch, pattern_fusion_pass=False)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    got, after = operators(model, arguments, monkeypatch)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    assert before["aten._softmax"] == 1
    assert after["aten._softmax"] == after["aten.matmul"] == after["aten.bmm"] == 0
    assert after["attention"] == 1
    if family is qwen3:
        assert after["aten.where.self"] == after["aten.add.Tensor"] == after["aten.expand"] == 0
    assert after.total() < before.total()


def test_padding(monkeypatch):
    """A mask of data stays an operand."""
    torch.manual_seed(0)
    model = bert().eval()
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[0, 4:] = 0
    arguments = {"input_ids": torch.randint(1, 99, (2, 7)), "attention_mask": mask}
    with torch.no_grad():
        want = model(**arguments)[0]
    got, after = operators(model, arguments, monkeypatch)
    torch.testing.assert_close(got[mask.bool()], want[mask.bool()], atol=1e-5, rtol=1e-5)
    assert after["attention"] == 1
    assert after["aten._softmax"] == 0
