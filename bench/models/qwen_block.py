"""The first generation of Qwen at the width of its 7B: four layers, fused against unfused replays.

    PYTHONPATH=build/release/python python bench/models/qwen_block.py TOKENIZER [--length 256]

The layers are written out by hand as that model's own code has them: RMSNorm, rotary embedding and
softmax in float32 between casts, one product for queries, keys and values, `a1 * silu(a2)`. Weights
are random, in bfloat16, and so its perplexity is that of guessing; but all four lanes read the same
text, and must guess alike. Prints a Markdown table; exits with 1 if cosine or perplexity differ by
more than docs/honesty.md allows a reduced precision. TOKENIZER is a folder with Qwen's vocabulary.
"""

import argparse
import statistics
import sys
import time

import torch
import transformers
from torch import nn
from torch.nn import functional

import ostinato
from ostinato.backend import ostinato as backend

WIDTH, HEADS, INNER, VOCABULARY = 4096, 32, 11008, 151936
HEAD = WIDTH // HEADS
TEXT = (
    "A lighthouse is a tower that carries a light over the sea. Ships see it by night, and know "
    "by the colour and the rhythm of its flashes which one it is and where they are. Before there "
    "were electric lamps its keeper trimmed the wicks, wound the clockwork that turned the lens, "
    "and wrote down wind and weather every few hours. Most lights have no keeper now: a switch, a "
    "spare lamp and a call to the nearest harbour have taken his place. "
)


class Norm(nn.Module):
    """RMSNorm in float32, its weight in the dtype of its operand."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        """(..., width) to the same."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return wide.type_as(x) * self.weight


def rotated(x, cos, sin):
    """The rotary embedding of the first dims of each head; the others, if any, pass."""
    turning = x[..., : cos.shape[-1]].float()
    first, second = turning.unflatten(-1, (2, -1)).unbind(-2)
    turned = torch.cat((-second, first), dim=-1)
    return torch.cat((turning * cos + turned * sin, x[..., cos.shape[-1] :]), dim=-1).type_as(x)


class Layer(nn.Module):
    """Attention and gated MLP, each behind a norm and added to its operand."""

    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = Norm(), Norm()
        self.c_attn = nn.Linear(WIDTH, 3 * WIDTH)
        self.c_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.w1 = nn.Linear(WIDTH, INNER, bias=False)
        self.w2 = nn.Linear(WIDTH, INNER, bias=False)
        self.mlp_proj = nn.Linear(INNER, WIDTH, bias=False)

    def attend(self, x, cos, sin):
        """(batch, length, width) to the same."""
        batch, length, _ = x.shape
        query, key, value = self.c_attn(x).split(WIDTH, dim=2)
        query, key, value = (part.view(batch, length, HEADS, HEAD) for part in (query, key, value))
        query, key = rotated(query, cos, sin), rotated(key, cos, sin)
        query, key, value = (part.permute(0, 2, 1, 3) for part in (query, key, value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / HEAD**0.5
        causal = torch.ones(length, length, dtype=torch.bool).tril().view(1, 1, length, length)
        least = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype)
        scores = torch.where(causal, scores, least)
        weights = functional.softmax(scores.float(), dim=-1).type(query.dtype)
        together = torch.matmul(weights, value).permute(0, 2, 1, 3).contiguous()
        return self.c_proj(together.view(batch, length, WIDTH))

    def forward(self, x, cos, sin):
        """(batch, length, width) to the same."""
        x = x + self.attend(self.ln_1(x), cos, sin)
        h = self.ln_2(x)
        return x + self.mlp_proj(self.w1(h) * functional.silu(self.w2(h)))


class Model(nn.Module):
    """Ids to logits."""

    def __init__(self, layers: int):
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.ln_f = Norm()
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids):
        """(batch, length) to (batch, length, vocabulary)."""
        frequency = 1.0 / 10000 ** (torch.arange(0, HEAD, 2).float() / HEAD)
        angles = torch.arange(ids.shape[1]).float().outer(frequency)
        angles = torch.cat((angles, angles), dim=-1).view(1, -1, 1, HEAD)
        cos, sin = angles.cos(), angles.sin()
        x = self.wte(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.lm_head(self.ln_f(x))


def empty(layers: int) -> Model:
    """In bfloat16; nothing is written to its weights yet."""
    with torch.device("meta"):
        model = Model(layers).to(torch.bfloat16)
    return model.to_empty(device="cpu").eval().requires_grad_(False)


def made(layers: int) -> Model:
    """With weights as the original initialises them, of deviation 0.02."""
    model = empty(layers)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            parameter.normal_(0.0, 0.02)
    return model


def perplexity(logits, ids) -> float:
    """Of each token after those before it."""
    return functional.cross_entropy(logits[0, :-1].float(), ids[0, 1:]).exp().item()


def compiled(model, fused: bool):
    """The model as one graph, with or without fusions."""
    torch._dynamo.reset()
    options = {"pattern_fusion_pass": fused, "frozen_parameter": True, "strict": True}
    return torch.compile(model, backend=backend, fullgraph=True, dynamic=False, options=options)


def compare(logits, golden, ids) -> tuple[float, float]:
    """The cosine to the golden logits, and the perplexity's relative difference."""
    pair = logits.flatten().double(), golden.flatten().double()
    cosine = functional.cosine_similarity(*pair, dim=0).item()
    return cosine, perplexity(logits, ids) / perplexity(golden, ids) - 1


def main():
    """Compares the lanes, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tokenizer", help="a folder with Qwen's tokenizer.json")
    parser.add_argument("--length", type=int, default=256, help="tokens of the text")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10, help="in which the lanes take turns")
    arguments = parser.parse_args()
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.tokenizer)
    ids = tokenizer([TEXT * 8], return_tensors="pt").input_ids[:, : arguments.length]
    model = made(arguments.layers)
    lanes = {"eager": model, "unfused": compiled(model, False), "fused": compiled(model, True)}
    seconds = {lane: [] for lane in lanes}
    with torch.inference_mode():
        first = {lane: run(ids) for lane, run in lanes.items()}
        for _ in range(arguments.rounds):
            for lane, run in lanes.items():
                start = time.perf_counter()
                run(ids)
                seconds[lane].append(time.perf_counter() - start)
        del lanes
        golden = model.float()(ids)
    median = {lane: statistics.median(times) for lane, times in seconds.items()}
    right = not ostinato.records()
    print("| lane | latency | against unfused | cosine to float32 | perplexity, against float32 |")
    print("|---|---:|---:|---:|---:|")
    for lane, logits in first.items():
        cosine, off = compare(logits, golden, ids)
        right = right and cosine > 0.999 and abs(off) < 0.01
        print(
            f"| {lane} | {1e3 * median[lane]:.0f} ms | {median['unfused'] / median[lane]:.2f}× "
            f"| {cosine:.6f} | {perplexity(logits, ids):.0f}, {100 * off:+.2f} % |"
        )
    print(
        f"\nbfloat16, {ids.shape[1]} tokens, {arguments.layers} layers, "
        f"{torch.get_num_threads()} threads"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
