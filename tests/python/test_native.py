"""`ostinato.compile`: the engine's own graphs over live transformers models."""

import pytest
import torch
import transformers

import ostinato

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
WORDS = {"vocab_size": 100, "max_position_embeddings": 64, **SIZES}
QWEN = {**WORDS, "num_key_value_heads": 2, "head_dim": 8}
VIT = {"image_size": 32, "patch_size": 8, **SIZES}

CLASSES = {
    "ViTModel": (transformers.ViTConfig, VIT),
    "ViTForImageClassification": (transformers.ViTConfig, {**VIT, "num_labels": 5}),
    "BertModel": (transformers.BertConfig, WORDS),
    "BertForMaskedLM": (transformers.BertConfig, WORDS),
    "BertForSequenceClassification": (transformers.BertConfig, {**WORDS, "num_labels": 3}),
    "BertForTokenClassification": (transformers.BertConfig, {**WORDS, "num_labels": 3}),
    "BertForQuestionAnswering": (transformers.BertConfig, WORDS),
    "Qwen3Model": (transformers.Qwen3Config, QWEN),
    "Qwen3ForCausalLM": (transformers.Qwen3Config, {**QWEN, "tie_word_embeddings": True}),
}


@pytest.fixture(autouse=True)
def inference():
    """Without gradients."""
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def make(name, **more):
    """A small model with random weights."""
    config, settings = CLASSES[name]
    return getattr(transformers, name)(config(**{**settings, **more})).eval()


def inputs_of(name, rows=2, tokens=7):
    """What its forward takes."""
    if name.startswith("ViT"):
        return {"pixel_values": torch.randn(rows, 3, 32, 32)}
    ids = {"input_ids": torch.randint(1, 100, (rows, tokens))}
    if name.startswith("Qwen"):
        return ids
    mask = torch.ones_like(ids["input_ids"])
    mask[1, 4:] = 0
    return {**ids, "attention_mask": mask}


def same(got, want, **tolerance):
    """The same class with the same tensors; a cache that was not asked for is let pass."""
    assert type(got) is type(want)
    assert set(got) == set(want) - {"past_key_values"}
    for name in got:
        torch.testing.assert_close(got[name], want[name], **tolerance)


@pytest.mark.parametrize("name", CLASSES)
def test_classes(name):
    """Each class's output, by its class; other sizes; weights changed in place and replaced."""
    model = make(name)
    run = ostinato.compile(model)
    given = inputs_of(name)
    same(run(**given), model(**given))
    given = inputs_of(name, rows=3, tokens=9)
    same(run(**given), model(**given))
    next(model.parameters()).mul_(2)
    same(run(**given), model(**given))
    assert run.runner.statistics.programs == 2
    model.load_state_dict(make(name).state_dict(), assign=True)
    same(run(**given), model(**given))


def test_weights_are_not_copied():
    """The graph reads the parameters where they lie."""
    model = make("ViTModel").to(torch.bfloat16)
    given = inputs_of("ViTModel")
    given["pixel_values"] = given["pixel_values"].to(torch.bfloat16)
    same(ostinato.compile(model)(**given), model(**given), atol=0.05, rtol=0.05)


def test_tuple_and_logits_to_keep():
    """`return_dict` and `logits_to_keep` are as in the model; the first argument needs no name."""
    model = make("Qwen3ForCausalLM")
    run = ostinato.compile(model)
    ids = inputs_of("Qwen3ForCausalLM")["input_ids"]
    torch.testing.assert_close(run(ids, return_dict=False)[0], model(ids).logits)
    for keep in (1, 3, torch.tensor([0, 2])):
        got, want = run(ids, logits_to_keep=keep), model(ids, logits_to_keep=keep)
        torch.testing.assert_close(got.logits, want.logits)
    mask, positions = torch.ones_like(ids), torch.arange(7)[None]
    torch.testing.assert_close(
        run(ids, attention_mask=mask, position_ids=positions).logits, model(ids).logits
    )


def refused(text, call):
    """An error of the engine with the remedy."""
    with pytest.raises(ostinato.Error, match=text) as raised:
        call()
    assert raised.value.code in ("unsupported", "invalid_argument")
    return raised.value


class Own(transformers.BertModel):
    """Somebody's class with another forward."""


def test_unknown_models_are_refused():
    """What is not exactly transformers' has no native graph."""
    with pytest.raises(TypeError):
        ostinato.compile(lambda x: x)
    remedy = 'torch.compile(model, backend="ostinato")'
    assert remedy in refused("Linear", lambda: ostinato.compile(torch.nn.Linear(2, 2))).hint
    own = Own(transformers.BertConfig(**WORDS)).eval()
    assert remedy in refused("Own", lambda: ostinato.compile(own)).hint
    gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2))
    assert remedy in refused("gpt2", lambda: ostinato.compile(gpt.eval())).hint
    hooked = make("BertModel")
    hooked.encoder.register_forward_hook(lambda *_: None)
    assert remedy in refused("hooks", lambda: ostinato.compile(hooked)).hint
    half = make("BertModel")
    half.pooler.half()
    refused("dtypes", lambda: ostinato.compile(half))
    refused("eval", lambda: ostinato.compile(make("BertModel").train()))
    untied = make("BertForMaskedLM")
    decoder = untied.cls.predictions.decoder
    decoder.weight = torch.nn.Parameter(decoder.weight.clone())
    refused("not tied", lambda: ostinato.compile(untied))
    extra = make("BertModel")
    extra.adapter = torch.nn.Linear(2, 2)
    refused("adapter", lambda: ostinato.compile(extra))


def test_unknown_arguments_are_refused():
    """Nothing is passed over in silence."""
    model = make("Qwen3ForCausalLM")
    run = ostinato.compile(model)
    ids = inputs_of("Qwen3ForCausalLM")["input_ids"]
    padded = torch.ones_like(ids)
    padded[0, 0] = 0
    refused("padding", lambda: run(ids, attention_mask=padded))
    refused("position_ids", lambda: run(ids, position_ids=torch.arange(7)[None] + 1))
    refused("labels", lambda: run(ids, labels=ids))
    refused("use_cache", lambda: run(ids, use_cache=True))
    refused("output_hidden_states", lambda: run(ids, output_hidden_states=True))
    refused("64 tokens", lambda: run(torch.zeros(1, 65, dtype=torch.long)))
    with pytest.raises(TypeError, match="input_ids"):
        run()
    model.train()
    refused("training", lambda: run(ids))
    vit = ostinato.compile(make("ViTModel"))
    refused("size", lambda: vit(torch.randn(1, 3, 16, 16)))


def test_gradients_run_in_eager_mode():
    """As in the other compilers, with a record."""
    model = make("BertModel")
    run = ostinato.compile(model)
    with torch.enable_grad():
        assert run(**inputs_of("BertModel")).last_hidden_state.requires_grad
    assert ostinato.records()[-1].code == "BACKWARD"
