"""Models whose files are missing, damaged or hostile: refused by name, soon, without a crash."""

import json
import os
import struct

import numpy as np
import pytest
from damage import cut, header_of, make_odd, put, write_weights
from safetensors.numpy import save_file

F32 = np.float32


# Weights


def change_entry(field, value):
    """Damage: sets a field of the tensor that comes first in the file."""

    def change(path):
        header, data = header_of(path)
        name = min((k for k in header if k[0] != "_"), key=lambda k: header[k]["data_offsets"])
        header[name][field] = value(header[name]) if callable(value) else value
        write_weights(path, header, data)

    return change


def twice(path):
    """Damage: a tensor is named twice."""
    header, data = header_of(path)
    name = next(k for k in header if k[0] != "_")
    text = json.dumps(header)
    write_weights(path, f'{text[:-1]}, "{name}": {json.dumps(header[name])}}}', data)


def rename(path):
    """Damage: a tensor has another name."""
    header, data = header_of(path)
    header["classifier.wheight"] = header.pop("classifier.weight")
    write_weights(path, header, data)


WEIGHTS = {
    "empty": (cut(0), "8 bytes"),
    "seven bytes": (cut(7), "7 bytes"),
    "header cut": (cut(200), "header"),
    "data cut": (cut(-100), "data_offsets"),
    "header of 2^63 bytes": (put(0, b"\xff" * 7 + b"\x7f"), "header of at most"),
    "header of 99 MB": (put(0, struct.pack("<Q", 99_000_000)), "header of 99000000 bytes"),
    "no JSON": (lambda p: write_weights(p, "{nonsense", b""), "line 1"),
    "a list": (lambda p: write_weights(p, "[]", b""), "'{'"),
    "deep": (lambda p: write_weights(p, '{"a":' * 100000, b""), "deep"),
    "no tensors": (lambda p: write_weights(p, {}, b""), "projection.weight"),
    "twice": (twice, "twice"),
    "overlap": (change_entry("data_offsets", lambda e: [e["data_offsets"][0] - 4] * 2), ""),
    "beyond the end": (change_entry("data_offsets", [0, 1 << 60]), "data_offsets"),
    "backwards": (change_entry("data_offsets", [8, 0]), "data_offsets"),
    "negative offset": (change_entry("data_offsets", [-4, 0]), "two offsets"),
    "huge shape": (change_entry("shape", [1 << 40, 1 << 40]), "fits in memory"),
    "negative shape": (change_entry("shape", [-1, 10]), "shape"),
    "shape in words": (change_entry("shape", "large"), "shape"),
    "another shape": (change_entry("shape", [1]), "data_offsets"),
    "unknown dtype": (change_entry("dtype", "F33"), "dtype"),
    "another dtype": (change_entry("dtype", "F64"), "bits"),
    "integers": (change_entry("dtype", "I32"), "int32"),
    "renamed": (rename, "classifier.weight"),
    "a NaN": (put(-4, b"\xff\xff\xff\x7f"), "NaN"),
    "LFS pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "lfs"),
}


LACKING = ("classifier.weight", "projection.weight")  # the folder as a whole lacks them


@pytest.mark.parametrize("damage", WEIGHTS)
def test_weights(copy_of, refused, damage):
    """A damaged or lying safetensors file."""
    folder = copy_of("vit")
    change, text = WEIGHTS[damage]
    change(folder / "model.safetensors")
    refused(
        "run", folder, texts=["lack" if text in LACKING else folder / "model.safetensors", text]
    )


def shard(folder, index):
    """Splits the weights of a folder in two files, with that index."""
    header, data = header_of(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(k for k in header if k[0] != "_")
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number}-of-2.safetensors"
        tensors = {}
        for name in part:
            begin, end = header[name]["data_offsets"]
            tensors[name] = np.frombuffer(data[begin:end], F32).reshape(header[name]["shape"])
            weight_map[name] = file
        save_file(tensors, folder / file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps(index({"weight_map": weight_map}))
    )


def changed(field, value):
    """An index in which one tensor stands elsewhere."""

    def change(index):
        index["weight_map"][field] = value
        return index

    return change


INDEXES = {
    "an unknown shard": (changed("vit.x", "model-3-of-2.safetensors"), "model-3-of-2"),
    "a tensor elsewhere": (changed("classifier.bias", "model-0-of-2"), "model-0-of-2"),
    "the wrong shard": (changed("classifier.bias", "model-2-of-2.safetensors"), "classifier.bias"),
    "a tensor nobody has": (changed("x", "model-1-of-2.safetensors"), '"x"'),
    "a path outside": (changed("classifier.bias", "../vit.json"), "inside the folder"),
    "an absolute path": (changed("classifier.bias", "/etc/passwd"), "inside the folder"),
    "no name": (changed("classifier.bias", 7), "file name"),
    "an empty name": (changed("classifier.bias", ""), "inside the folder"),
    "the folder itself": (changed("classifier.bias", "."), "inside the folder"),
    "no map": (lambda index: {}, "weight_map"),
    "a list": (lambda index: [], "weight_map"),
}


@pytest.mark.parametrize("damage", INDEXES)
def test_index(copy_of, refused, damage):
    """Shards and an index that disagree."""
    folder = copy_of("vit")
    change, text = INDEXES[damage]
    shard(folder, change)
    refused("run", folder, texts=["index.json", text])


def test_shards_load_and_can_be_missing(copy_of, run, refused):
    """The index of these tests is right; without a shard, or with a cut one, it is not."""
    folder = copy_of("vit")
    shard(folder, lambda index: index)
    run("run", folder)
    last = folder / "model-2-of-2.safetensors"
    cut(-8)(last)
    refused("run", folder, texts=[last])
    last.unlink()
    refused("run", folder, texts=[last, "index.json"])
    (folder / "model.safetensors.index.json").unlink()
    refused("run", folder, texts=["model.safetensors", folder])


# Configurations

CONFIGS = {
    "missing": (lambda p: p.unlink(), "config.json"),
    "empty": (cut(0), "syntax error"),
    "cut": (cut(100), "syntax error"),
    "binary": (lambda p: p.write_bytes(os.urandom(1000)), "config.json"),
    "a NUL": (lambda p: p.write_bytes(p.read_bytes() + b"\0"), "syntax error"),
    "NaN": (lambda p: p.write_text('{"model_type": NaN}'), "syntax error"),
    "deep": (lambda p: p.write_text("[" * 1_000_000), "levels"),
    "a list": (lambda p: p.write_text("[]"), "object"),
    "a number": (lambda p: p.write_text("7"), "object"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "folder"),
    "a pipe": (lambda p: (p.unlink(), os.mkfifo(p)), "pipe"),
    "a device": (lambda p: (p.unlink(), p.symlink_to("/dev/zero")), "device"),
    "a dangling link": (lambda p: (p.unlink(), p.symlink_to("nowhere")), "config.json"),
}

FIELDS = [
    ("vit", "model_type", None, "model_type"),
    ("vit", "model_type", "gpt9", "gpt9"),
    ("vit", "model_type", ["vit"], "expected a string"),
    ("vit", "architectures", ["ViTForMagic"], "ViTForMagic"),
    ("vit", "architectures", "ViTModel", "list of strings"),
    ("vit", "num_attention_heads", 5, "divisor"),
    ("vit", "num_attention_heads", 0, "got 0"),
    ("vit", "num_attention_heads", -4, "got -4"),
    ("vit", "num_attention_heads", "4", 'got "4"'),
    ("vit", "num_attention_heads", 4.0, "got 4.0"),
    ("vit", "num_attention_heads", True, "got true"),
    ("vit", "hidden_size", 1 << 60, "hidden_size"),
    ("vit", "hidden_size", 10**30, "hidden_size"),
    ("vit", "num_hidden_layers", 10**9, "num_hidden_layers"),
    ("vit", "image_size", 0, "image_size"),
    ("vit", "image_size", [32, 32, 32], "image_size"),
    ("vit", "image_size", [32, -32], "image_size"),
    ("vit", "patch_size", 64, "patch_size"),
    ("vit", "patch_size", 16, "projection.weight"),
    ("vit", "layer_norm_eps", "small", "layer_norm_eps"),
    ("vit", "layer_norm_eps", 1e400, "double"),
    ("vit", "hidden_act", "wiggle", "wiggle"),
    ("vit", "qkv_bias", 1, "qkv_bias"),
    ("vit", "id2label", {"0": "a", "2": "b"}, "id2label"),
    ("vit", "id2label", {}, "id2label"),
    ("vit", "id2label", {"0": 5}, "id2label"),
    ("vit", "num_labels", 3, "classifier"),
    ("vit", "dtype", "float8", "float8"),
    ("vit", "surprise", 1, "surprise"),
    ("vit", "quantization_config", {"bits": 4}, "quantization_config"),
    ("bert", "vocab_size", 0, "vocab_size"),
    ("bert", "vocab_size", 30, "word_embeddings"),
    ("bert", "position_embedding_type", "relative_key", "relative_key"),
    ("qwen", "num_key_value_heads", 3, "num_key_value_heads"),
    ("qwen", "head_dim", 7, "head_dim"),
    ("qwen", "rope_scaling", {"rope_type": "yarn", "factor": -1}, "factor"),
    ("qwen", "rope_scaling", {"rope_type": "spiral"}, "spiral"),
    ("qwen", "rope_theta", 0, "rope_theta"),
    ("qwen", "layer_types", ["full_attention"], "layer_types"),
    ("qwen", "layer_types", ["full_attention", "odd"], "odd"),
    ("qwen", "eos_token_id", "</s>", "eos_token_id"),
    ("qwen", "eos_token_id", 1 << 62, "eos_token_id"),
]


@pytest.mark.parametrize("damage", CONFIGS)
def test_config_file(copy_of, refused, damage):
    """A config.json that is none."""
    folder = copy_of("vit")
    change, text = CONFIGS[damage]
    change(folder / "config.json")
    refused("run", folder, texts=["config.json", text])


@pytest.mark.parametrize(("model", "field", "value", "text"), FIELDS)
def test_config_field(copy_of, refused, model, field, value, text):
    """A field with a value that cannot be."""
    folder = copy_of(model)
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {field: value}
    if value is None:
        del config[field]
    path.write_text(json.dumps(config).replace("Infinity", "1e400"))
    refused("run", folder, texts=[text])


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 1 << 20, "intermediate_size": 1 << 24},
        {"hidden_size": 1 << 16, "intermediate_size": 1 << 16, "num_hidden_layers": 4096},
        {"image_size": 1 << 14, "patch_size": 1, "hidden_size": 1 << 16},
        {"num_labels": 1 << 20, "hidden_size": 1 << 20},
    ],
)
@pytest.mark.parametrize("verb", ["run", "new-model"])
def test_terabytes(tiny, tmp_path, refused, verb, sizes):
    """Sizes that are each possible, and that no memory holds together."""
    config = json.loads((tiny / "vit/config.json").read_text()) | sizes
    (tmp_path / "config.json").write_text(json.dumps(config))
    if verb == "run":
        refused("run", tmp_path, "--weights", "random")
    else:
        refused("new-model", tmp_path / "config.json", tmp_path / "made")
        assert not (tmp_path / "made").exists()


def test_generation_config(copy_of, refused):
    """Settings that would change the text, and a file that is none."""
    folder = copy_of("qwen")
    path = folder / "generation_config.json"
    path.write_text('{"repetition_penalty": 1.1}')
    refused("generate", folder, "--prompt-ids", "1", texts=[path, "repetition_penalty 1.1"])
    path.write_text("[")
    refused("generate", folder, "--prompt-ids", "1", texts=[path])
    path.write_text('{"eos_token_id": [1, "x"]}')
    refused("generate", folder, "--prompt-ids", "1", texts=[path, "eos_token_id"])


# Tokenizers

TOKENIZERS = {
    "missing": (lambda t: None, "tokenizer.json"),
    "empty": (lambda t: "", "byte"),
    "cut": (lambda t: json.dumps(t)[:1000], "byte"),
    "binary": (lambda t: "\x00\x01", "byte"),
    "a list": (lambda t: [], "an object"),
    "unknown model": (lambda t: {**t, "model": {"type": "Magic"}}, "Magic"),
    "unknown normalizer": (lambda t: {**t, "normalizer": {"type": "Magic"}}, "Magic"),
    "unknown pre-tokenizer": (lambda t: {**t, "pre_tokenizer": {"type": "Magic"}}, "Magic"),
    "unknown decoder": (lambda t: {**t, "decoder": {"type": "Magic"}}, "Magic"),
    "unknown post-processor": (lambda t: {**t, "post_processor": {"type": "Magic"}}, "Magic"),
    "unknown field": (lambda t: {**t, "surprise": 1}, "surprise"),
    "no model": (lambda t: {**t, "model": None}, "model"),
    "a bad pattern": (
        lambda t: {
            **t,
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": "(("},
                "behavior": "Isolated",
                "invert": False,
            },
        },
        "((",
    ),
    "ids out of order": (
        lambda t: {**t, "model": {**t["model"], "vocab": {"a": 0, "b": 5_000_000_000}}},
        "vocab",
    ),
    "an id twice": (lambda t: {**t, "model": {**t["model"], "vocab": {"a": 0, "b": 0}}}, "vocab"),
    "a negative id": (lambda t: {**t, "model": {**t["model"], "vocab": {"a": -1}}}, "vocab"),
}


@pytest.mark.parametrize("damage", TOKENIZERS)
def test_tokenizer(copy_of, refused, damage):
    """A tokenizer.json that is missing, damaged or has unknown parts."""
    folder = copy_of("bert")
    path = folder / "tokenizer.json"
    change, text = TOKENIZERS[damage]
    content = change(json.loads(path.read_text()))
    if content is None:
        path.unlink()
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    refused("tokenize", folder, "--text", "a", texts=[path, text])
    refused("run", folder, "--prompt", "a", texts=[path, text])


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_tokenizer_that_is_no_file(copy_of, refused, kind):
    """Nothing waits for a pipe, or reads a device without end."""
    folder = copy_of("bert")
    (folder / "tokenizer.json").unlink()
    make_odd(folder / "tokenizer.json", kind)
    refused("tokenize", folder, "--text", "a", texts=[folder / "tokenizer.json", kind])
