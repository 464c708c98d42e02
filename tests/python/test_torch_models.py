"""Families of models through torch.compile: fp32 against PyTorch, with no fallback."""

import pytest
import torch
import transformers

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
}
DECODER = {**TEXT, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
MODELS = {}


def model(function):
    """Registers a maker of a model and its inputs."""
    MODELS[function.__name__] = function
    return function


def pixels(*shape):
    """A picture of noise."""
    return torch.randn(shape)


def tokens(batch=2, length=9, high=128):
    """Random token ids, and a mask with some padding in the last row."""
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[-1, -3:] = 0
    return {"input_ids": torch.randint(3, high, (batch, length)), "attention_mask": mask}


@model
def vit():
    """ViT with a classifier."""
    config = transformers.ViTConfig(**VISION)
    return transformers.ViTForImageClassification(config), {"pixel_values": pixels(2, 3, 32, 32)}


@model
def clip():
    """Both towers of CLIP."""
    text = {**TEXT, "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    inputs = {**tokens(), "pixel_values": pixels(2, 3, 32, 32)}
    inputs["input_ids"][:, 5] = 127
    return transformers.CLIPModel(config), inputs


@model
def siglip():
    """SigLIP, whose head pools by attention."""
    text = {**TEXT, "max_position_embeddings": 16}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    ids = tokens()["input_ids"]
    return transformers.SiglipModel(config), {
        "input_ids": ids,
        "pixel_values": pixels(2, 3, 32, 32),
    }


@model
def siglip2():
    """SigLIP2 with patches of pictures of two sizes."""
    vision = {k: v for k, v in VISION.items() if k != "image_size"} | {"num_patches": 16}
    config = transformers.Siglip2VisionConfig(**vision)
    mask = torch.ones(2, 16, dtype=torch.int32)
    mask[1, 12:] = 0
    return transformers.Siglip2VisionModel(config), {
        "pixel_values": pixels(2, 16, 3 * 8 * 8),
        "pixel_attention_mask": mask,
        "spatial_shapes": torch.tensor([[4, 4], [3, 4]]),
    }


@model
def dinov3_vit():
    """DINOv3 with registers and two-dimensional rotary embeddings."""
    config = transformers.DINOv3ViTConfig(**VISION, num_register_tokens=2)
    return transformers.DINOv3ViTModel(config), {"pixel_values": pixels(2, 3, 32, 32)}


@model
def dinov3_convnext():
    """DINOv3's convolutional relative."""
    config = transformers.DINOv3ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1])
    return transformers.DINOv3ConvNextModel(config), {"pixel_values": pixels(1, 3, 64, 64)}


@model
def sam():
    """SAM with windows, relative positions, points."""
    vision = {
        "hidden_size": 32,
        "output_channels": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 8,
        "mlp_ratio": 2.0,
        "window_size": 3,
        "global_attn_indexes": [1],
        "num_pos_feats": 8,
    }
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4}
    mask = {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
        "iou_head_depth": 2,
        "num_hidden_layers": 1,
    }
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask
    )
    return transformers.SamModel(config), {
        "pixel_values": pixels(1, 3, 64, 64),
        "input_points": torch.rand(1, 1, 2, 2) * 64,
    }


@model
def bert():
    """BERT with a padding mask."""
    config = transformers.BertConfig(**TEXT, max_position_embeddings=32)
    return transformers.BertModel(config), tokens()


@model
def qwen3():
    """Qwen3 with a padding mask and without a cache."""
    config = transformers.Qwen3Config(**DECODER)
    return transformers.Qwen3ForCausalLM(config), {**tokens(), "use_cache": False}


@model
def qwen2():
    """Qwen2, whose cache is returned."""
    config = transformers.Qwen2Config(**DECODER)
    return transformers.Qwen2ForCausalLM(config), tokens()


@model
def qwen2_5_vl():
    """Qwen2.5-VL with a picture of 4 x 4 patches."""
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 16,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
        "in_channels": 3,
    }
    text = {**DECODER, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=120,
        video_token_id=121,
        vision_start_token_id=122,
    )
    ids = torch.randint(3, 100, (1, 10))
    ids[0, 2] = 122
    ids[0, 3:7] = 120
    return transformers.Qwen2_5_VLForConditionalGeneration(config), {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == 120).to(torch.int32),
        "pixel_values": pixels(16, 3 * 2 * 4 * 4),
        "image_grid_thw": torch.tensor([[1, 4, 4]]),
    }


@model
def qwen3_vl():
    """Qwen3-VL, whose vision tower feeds several layers."""
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
        "in_channels": 3,
    }
    text = {**DECODER, "rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]}}
    config = transformers.Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=120,
        video_token_id=121,
        vision_start_token_id=122,
    )
    ids = torch.randint(3, 100, (1, 10))
    ids[0, 2] = 122
    ids[0, 3:7] = 120
    return transformers.Qwen3VLForConditionalGeneration(config), {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == 120).to(torch.int32),
        "pixel_values": pixels(16, 3 * 2 * 4 * 4),
        "image_grid_thw": torch.tensor([[1, 4, 4]]),
    }


def leaves(output):
    """The tensors of a model's output, by path."""
    found, _ = torch.utils._pytree.tree_flatten_with_path(output)
    named = {torch.utils._pytree.keystr(path): leaf for path, leaf in found}
    tensors = {name: leaf for name, leaf in named.items() if isinstance(leaf, torch.Tensor)}
    cache = getattr(output, "past_key_values", None)
    for index, layer in enumerate(getattr(cache, "layers", [])):
        tensors |= {f"cache.{index}.keys": layer.keys, f"cache.{index}.values": layer.values}
    return tensors


def assert_same(got, want, tolerance=1e-4):
    """Same leaves, shapes, dtypes and strides, and values within the tolerance."""
    got, want = leaves(got), leaves(want)
    assert got.keys() == want.keys()
    for name, expected in want.items():
        actual = got[name]
        assert actual.shape == expected.shape, name
        assert actual.dtype == expected.dtype, name
        assert actual.stride() == expected.stride(), name
        scale = max(1.0, expected.float().abs().max().item()) if expected.numel() else 1.0
        torch.testing.assert_close(actual, expected, atol=tolerance * scale, rtol=0, msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_family(name, recorded):
    """The output of a model with random weights, without a fallback."""
    torch.manual_seed(0)
    network, inputs = MODELS[name]()
    network.eval()
    with torch.inference_mode():
        want = network(**inputs)
    with torch.no_grad():
        compiled = torch.compile(network, backend="ostinato", dynamic=False)
        got = compiled(**inputs)
        assert_same(got, want)
        assert_same(compiled(**inputs), want)
    # Where a model's own code reads data, Dynamo makes several graphs.
    assert {record.code for record in recorded()} <= {"GRAPH_BREAK"}
