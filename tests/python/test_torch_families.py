"""More families of models through torch.compile, and generation with caches."""

import pytest
import torch
import transformers
from test_torch_models import DECODER, TEXT, assert_same, pixels, tokens

MODELS = {}


def model(function):
    """Registers a maker of a model and its inputs."""
    MODELS[function.__name__] = function
    return function


@model
def t5():
    """An encoder, a decoder, relative positions."""
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(**sizes, vocab_size=128)
    inputs = {**tokens(), "decoder_input_ids": torch.randint(3, 128, (2, 5)), "use_cache": False}
    return transformers.T5ForConditionalGeneration(config), inputs


@model
def whisper():
    """Convolutions over sound."""
    sizes = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    config = transformers.WhisperConfig(
        **sizes,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=128,
        num_mel_bins=16,
        max_source_positions=50,
        max_target_positions=40,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    inputs = {
        "input_features": torch.randn(1, 16, 100),
        "decoder_input_ids": torch.randint(3, 128, (1, 5)),
    }
    return transformers.WhisperForConditionalGeneration(config), inputs


@model
def gpt2():
    """Weights of transposed products."""
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=128, n_positions=64)
    return transformers.GPT2LMHeadModel(config), {**tokens(), "use_cache": False}


@model
def gemma3():
    """Local and global attention."""
    config = transformers.Gemma3TextConfig(**DECODER, sliding_window=4, query_pre_attn_scalar=8)
    return transformers.Gemma3ForCausalLM(config), {**tokens(), "use_cache": False}


@model
def mixtral():
    """A mixture of experts."""
    config = transformers.MixtralConfig(**DECODER, num_local_experts=4, num_experts_per_tok=2)
    return transformers.MixtralForCausalLM(config), {**tokens(), "use_cache": False}


@model
def mamba():
    """A selective scan."""
    config = transformers.MambaConfig(
        hidden_size=32, state_size=8, num_hidden_layers=2, vocab_size=128
    )
    inputs = {"input_ids": tokens()["input_ids"], "use_cache": False}
    return transformers.MambaForCausalLM(config), inputs


@model
def swin():
    """Shifted windows."""
    config = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4
    )
    return transformers.SwinModel(config), {"pixel_values": pixels(2, 3, 32, 32)}


@model
def deberta_v2():
    """Disentangled attention."""
    config = transformers.DebertaV2Config(
        **TEXT,
        max_position_embeddings=64,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=8,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
    )
    return transformers.DebertaV2Model(config), tokens()


@model
def resnet():
    """Batch normalisation and pooling."""
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2])
    return transformers.ResNetForImageClassification(config), {"pixel_values": pixels(2, 3, 32, 32)}


@model
def wav2vec2():
    """Group normalisation, grouped convolutions."""
    config = transformers.Wav2Vec2Config(
        **TEXT,
        conv_dim=[16, 16],
        conv_kernel=[10, 3],
        conv_stride=[5, 2],
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    return transformers.Wav2Vec2Model(config), {"input_values": torch.randn(1, 400)}


@pytest.mark.parametrize("name", MODELS)
def test_family(name, recorded):
    """The output of a model with random weights, without a fallback."""
    torch.manual_seed(0)
    network, inputs = MODELS[name]()
    network.eval()
    with torch.no_grad():
        want = network(**inputs)
        compiled = torch.compile(network, backend="ostinato", dynamic=False)
        assert_same(compiled(**inputs), want)
        assert_same(compiled(**inputs), want)
    assert not recorded()


@pytest.mark.parametrize("cache", [None, "static"])
def test_generate(cache, recorded):
    """Greedy tokens are eager's, with a cache that grows and with one of a fixed size."""
    torch.manual_seed(0)
    config = transformers.Qwen3Config(**DECODER, initializer_range=0.3)
    network = transformers.Qwen3ForCausalLM(config).eval()
    network.generation_config.eos_token_id = None
    network.generation_config.pad_token_id = 0
    inputs = {key: value[:, :5] for key, value in tokens().items()}
    inputs["attention_mask"][1, :2] = 0
    chosen = {"max_new_tokens": 6, "do_sample": False, "disable_compile": True}
    if cache is not None:
        chosen["cache_implementation"] = cache
    with torch.no_grad():
        want = network.generate(**inputs, **chosen)
        network.forward = torch.compile(network.forward, backend="ostinato")
        got = network.generate(**inputs, **chosen)
    assert got.tolist() == want.tolist()
    assert not recorded()
