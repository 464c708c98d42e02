"""What the engines run: models in every engine's format, inputs, and PyTorch's outputs in float32.

A store is a folder with `model/` (HuggingFace), what other engines read, and `cases.npz`: for each
case `CASE.input` and `CASE.expected`, whose first dim is that of the steps.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

VIT = transformers.ViTConfig(num_labels=1000)
QWEN3 = transformers.Qwen3Config(
    hidden_size=1024,
    intermediate_size=3072,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=151936,
    tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 1e6},
)
OPERATORS = 800  # of the chain
PROMPT, DECODED, START, GROWN = 128, 32, 20, 16  # tokens


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    workload: str  # vit, qwen or chain
    name: str
    dtype: str
    threads: int
    steps: int  # of a round
    store: Path

    def tokens(self) -> float:
        """How many a step puts through the model, on average."""
        return {"prefill": PROMPT, "growing": START + (GROWN - 1) / 2}.get(self.name, 1)

    def flops(self) -> float:
        """Multiplications and additions of the products that a step's results depend on.

        Logits depend on one row of what follows the last layer's keys and values, its queries,
        too; the other rows are not counted.
        """
        if self.workload == "vit":
            return (35.1e9 - 2.4e9) * int(self.name.removeprefix("batch"))
        if self.workload == "chain":
            return OPERATORS / 4 * 2 * 4 * 32 * 32
        layers = 440.5e6 * self.tokens() - 13.6e6 * (self.tokens() - 1)
        return 2 * layers + 2 * 1024 * 151936

    def bytes(self) -> float:
        """Weights that a step reads from memory; the chain's stay in a cache."""
        size = 2 if self.dtype == "bfloat16" else 4
        return {"vit": 86.6e6, "qwen": 596e6, "chain": 0}[self.workload] * size


class Chain(torch.nn.Module):
    """Blocks of layer_norm(silu(x · w) + x): four operators each, all launch and no work."""

    def __init__(self, weights: torch.Tensor):
        super().__init__()
        self.weights = torch.nn.ParameterList(weights.unbind())

    def forward(self, x):
        """(4, 32) to the same."""
        for w in self.weights:
            x = torch.nn.functional.layer_norm(torch.nn.functional.silu(x @ w) + x, x.shape[-1:])
        return x


def chain_text() -> str:
    """The chain as graph text; weight i is the constant w.i."""
    lines = ['ostinato.graph 1 "chain"', 'input %0 "x" : float32(4, 32)']
    count = OPERATORS // 4
    lines += [f'constant %{i + 1} "w.{i}" : float32(32, 32)' for i in range(count)]
    x, new = 0, count + 1
    for i in range(count):
        lines += [
            f"%{new} : float32(4, 32) = aten.mm(%{x}, %{i + 1})",
            f"%{new + 1} : float32(4, 32) = aten.silu(%{new})",
            f"%{new + 2} : float32(4, 32) = aten.add.Tensor(%{new + 1}, %{x})",
            f"%{new + 3} : float32(4, 32) = layer_norm(%{new + 2}, None, None) {{eps=1e-05}}",
        ]
        x, new = new + 3, new + 4
    return "\n".join([*lines, f'output "y" %{x}', ""])


def load(case: Case, dtype: str):
    """The PyTorch model of a store."""
    if case.workload == "chain":
        return Chain(torch.load(case.store / "chain.pt", weights_only=True))
    kind = "ViTForImageClassification" if case.workload == "vit" else "Qwen3ForCausalLM"
    folder = case.store / "model"
    return getattr(transformers, kind).from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


@torch.inference_mode()
def prepare(workload: str, store: Path, dtype: str, batches: list[int]):
    """Fills a store with weights from one seed, rounded to the dtype."""
    torch.manual_seed(0)
    store.mkdir(parents=True)
    if workload == "chain":
        arrays = _prepare_chain(store)
    else:
        kind, config = (
            (transformers.ViTForImageClassification, VIT)
            if workload == "vit"
            else (transformers.Qwen3ForCausalLM, QWEN3)
        )
        model = kind(config).eval().to(getattr(torch, dtype))
        model.save_pretrained(store / "model")
        model = model.float()
        arrays = (
            _prepare_vit(store, model, dtype, batches)
            if workload == "vit"
            else _prepare_qwen(store, model, dtype)
        )
    np.savez(store / "cases.npz", **arrays)
    (store / "ready").touch()


def _prepare_chain(store: Path) -> dict:
    weights, x = torch.randn(OPERATORS // 4, 32, 32) * 0.1, torch.randn(4, 32)
    torch.save(weights, store / "chain.pt")
    (store / "chain.graph").write_text(chain_text())
    named = {f"w.{i}": weight.contiguous() for i, weight in enumerate(weights)}
    save_file(named, store / "chain.safetensors")
    chain = Chain(weights)
    _export(store, chain, x, None)
    return {"chain.input": x.numpy(), "chain.expected": chain(x)[None].numpy()}


def _prepare_vit(store: Path, model, dtype: str, batches: list[int]) -> dict:
    _export(store, model, torch.randn(2, 3, 224, 224), ({0: torch.export.Dim("batch")},))
    arrays = {}
    for batch in batches:
        x = torch.randn(batch, 3, 224, 224).to(getattr(torch, dtype)).float()
        arrays[f"batch{batch}.input"] = x.numpy()
        arrays[f"batch{batch}.expected"] = model(x).logits[None].numpy()
    return arrays


def _export(store: Path, model, x, dynamic_shapes):
    """For ONNX Runtime and OpenVINO, in float32."""
    import openvino

    torch.onnx.export(model, (x,), store / "model.onnx", dynamic_shapes=dynamic_shapes)
    converted = openvino.convert_model(model, example_input=x)
    openvino.save_model(converted, store / "model.xml", compress_to_fp16=False)


def _prepare_qwen(store: Path, model, dtype: str) -> dict:
    _write_gguf(store / "model.gguf", model, dtype)
    prompt, start = (torch.randint(model.config.vocab_size, (n,)) for n in (PROMPT, START))
    path, logits = _greedy(model, prompt, DECODED + 1)
    arrays = {"prefill.input": prompt, "prefill.expected": logits[:1]}
    arrays |= {"decode.input": path[:-1], "decode.expected": logits[1:]}
    path, logits = _greedy(model, start, GROWN)
    arrays |= {"growing.input": path[:-1], "growing.expected": logits}
    return {name: array.numpy() for name, array in arrays.items()}


def _greedy(model, prompt, steps: int):
    """The prompt and its continuation; logits[i] are those that token i of it was taken from."""
    path, fed, logits = prompt, prompt, []
    cache = transformers.DynamicCache(config=model.config)
    for _ in range(steps):
        logits.append(model(fed[None], past_key_values=cache, logits_to_keep=1).logits[0, -1])
        fed = logits[-1].argmax()[None]
        path = torch.cat([path, fed])
    return path, torch.stack(logits)


def _write_gguf(file: Path, model, dtype: str):
    """For llama.cpp: matrices in the dtype, norms in float32, no tokenizer."""
    import gguf

    config, types = model.config, gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(file, "qwen3")
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config.num_hidden_layers)
    matrix = types.BF16 if dtype == "bfloat16" else types.F32
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":  # tied to the embedding
            continue
        kind = matrix if tensor.dim() == 2 else types.F32
        data = gguf.quants.quantize(tensor.numpy(), kind)
        writer.add_tensor(names.get_name(name, [".weight"]) or name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
