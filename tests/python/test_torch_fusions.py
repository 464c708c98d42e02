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


def program(model, arguments, monkeypatch, **options):
    """The model's first result, and the engine's graph."""
    runners, original = [], importer.Importer.run

    def run(self):
        runners.append(original(self))
        return runners[-1]

    torch._dynamo.reset()
    compiled = torch.compile(model, backend=backend, dynamic=False, options=options)
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(importer.Importer, "run", run)
        got = compiled(**arguments)[0]
    (runner,) = runners
    return got, runner.program_text


def operators(model, arguments, monkeypatch, **options):
    """The model's first result, and how often the engine's graph calls each operator."""
    got, graph = program(model, arguments, monkeypatch, **options)
    return got, collections.Counter(re.findall(r" = ([\w.]+)\(", graph))


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


TEXT = {**SIZES, "num_key_value_heads": 2, "pad_token_id": 0, "use_cache": False}
HEADS = {**TEXT, "head_dim": 16}


def text(name, **sizes):
    """A model of texts, and its input."""
    config = getattr(transformers, f"{name}Config")(**sizes)
    model = getattr(transformers, f"{name}Model")(config)
    return model, {"input_ids": torch.randint(1, 99, (2, 7))}


def qwen_vl():
    """The language model, whose rotary tables are of three sections."""
    sections = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": sections},
        vision_config={"depth": 1, "hidden_size": 32, "num_heads": 2, "out_hidden_size": 64},
    )
    model = transformers.Qwen2_5_VLModel(config).language_model
    return model, {"input_ids": torch.randint(1, 99, (2, 7))}


def dinov3():
    """Rotary in two dims, of all tokens but the first ones."""
    sizes = {"image_size": 32, "patch_size": 8, "use_gated_mlp": True, "hidden_act": "silu"}
    kept = {key: value for key, value in SIZES.items() if key != "vocab_size"}
    config = transformers.DINOv3ViTConfig(**kept, **sizes)
    return transformers.DINOv3ViTModel(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def clip():
    """An MLP with x · σ(1.702 · x)."""
    kept = {key: value for key, value in SIZES.items() if key != "vocab_size"}
    config = transformers.CLIPVisionConfig(**kept, image_size=32, patch_size=8)
    return transformers.CLIPVisionModel(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def gpt_j():
    """Neighbours turned, in the first elements of each head."""
    config = transformers.GPTJConfig(
        vocab_size=100, n_embd=64, n_layer=1, n_head=4, rotary_dim=8, use_cache=False
    )
    return transformers.GPTJModel(config), {"input_ids": torch.randint(1, 99, (2, 7))}


def gpt2():
    """Weights that are stored turned."""
    config = transformers.GPT2Config(
        vocab_size=100, n_embd=64, n_layer=1, n_head=4, use_cache=False
    )
    return transformers.GPT2Model(config), {"input_ids": torch.randint(1, 99, (2, 7))}


GATED = {"attention": 1, "linears": 1, "rotary_pair": 1, "gated_linear": 1, "aten.linear": 0}
PACKED = {"attention": 1, "rotary_pair": 1, "gated_linear": 1, "aten.silu": 0, "swiglu": 0}
FAMILIES = {
    "llama": (lambda: text("Llama", **TEXT), GATED),
    "cohere": (lambda: text("Cohere", **TEXT), {**GATED, "aten.stack": 0}),
    "glm": (lambda: text("Glm", **HEADS), {**PACKED, "linears": 1, "aten.stack": 0}),
    "phi3": (lambda: text("Phi3", **TEXT), PACKED),
    "gemma2": (
        lambda: text("Gemma2", **HEADS, attn_logit_softcapping=2.0),
        {**GATED, "aten.linear": 2, "aten.tanh": 0, "aten.gelu": 0, "aten.where.self": 0},
    ),
    "gpt_oss": (
        lambda: text("GptOss", **HEADS, num_local_experts=2, num_experts_per_tok=1),
        {"attention": 1, "rotary_pair": 1, "linears": 1, "aten.max.dim": 0, "aten.sub.Tensor": 0},
    ),
    "gpt_j": (gpt_j, {"attention": 1, "rotary_pair": 1, "linears": 1, "aten.stack": 0}),
    "gpt2": (gpt2, {"attention": 1, "aten.linear": 1, "linear": 3, "aten.addmm": 0}),
    "qwen_vl": (qwen_vl, GATED),
    "clip": (clip, {"attention": 1, "linears": 1, "linear": 3, "aten.sigmoid": 0}),
    "dinov3": (
        dinov3,
        {"attention": 1, "rotary_pair": 1, "linears": 1, "gated_linear": 1, "aten.cat": 1},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family, monkeypatch):
    """The calls of a layer as each family of transformers spells it, and its values."""
    torch.manual_seed(0)
    make, calls = FAMILIES[family]
    model, arguments = make()
    model = model.eval()
    for parameter in model.parameters():  # so that caps, sinks and rotations show
        torch.nn.init.normal_(parameter, std=0.2)
    with torch.no_grad():
        want = model(**arguments)[0]
    got, counts = operators(model, arguments, monkeypatch)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
    assert {name: counts[name] for name in calls} == calls


def vit_classifier():
    """Logits of the first token; pictures are five tokens."""
    config = transformers.ViTConfig(image_size=32, patch_size=16, num_labels=5, **SIZES)
    model = transformers.ViTForImageClassification(config)
    return model, {"pixel_values": torch.randn(2, 3, 32, 32)}


def qwen3_next_token():
    """Logits of the last token, which attends all others."""
    config = transformers.Qwen3Config(**HEADS)
    model = transformers.Qwen3ForCausalLM(config)
    return model, {"input_ids": torch.randint(1, 99, (2, 5)), "logits_to_keep": 1}


@pytest.mark.parametrize("make", [vit_classifier, qwen3_next_token])
def test_rows_that_logits_read(make, monkeypatch):
    """What follows the keys and values of the only layer is computed for one token."""
    torch.manual_seed(0)
    model, arguments = make()
    model = model.eval()
    with torch.no_grad():
        want = model(**arguments)[0]
    got, graph = program(model, arguments, monkeypatch)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    attention = graph[graph.index(" = attention(") :]
    assert "(2, 1, 96) = " in attention
    assert "(2, 5, " not in attention
