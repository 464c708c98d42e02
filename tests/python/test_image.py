"""Pictures come out as PIL and the PIL backend of transformers make them."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import transformers.models.bit.image_processing_pil_bit as bit
import transformers.models.clip.image_processing_pil_clip as clip
import transformers.models.deit.image_processing_pil_deit as deit
import transformers.models.siglip.image_processing_pil_siglip as siglip
import transformers.models.vit.image_processing_pil_vit as vit
from conftest import package_folder
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("OSTINATO_TEST_TOOLS", ROOT / "build/release/tests"))
SKIMAGE = package_folder("skimage") / "data"
SKLEARN = Path(sklearn.datasets.__file__).parent / "images"

PHOTOGRAPHS = [
    SKIMAGE / "astronaut.png",
    SKIMAGE / "chelsea.png",
    SKIMAGE / "coffee.png",
    SKIMAGE / "camera.png",  # grey
    SKIMAGE / "retina.jpg",
    SKIMAGE / "rocket.jpg",
    SKLEARN / "china.jpg",
    SKLEARN / "flower.jpg",
]
PROCESSORS = {
    "ViT": vit.ViTImageProcessorPil,
    "DeiT": deit.DeiTImageProcessorPil,
    "CLIP": clip.CLIPImageProcessorPil,
    "Siglip": siglip.SiglipImageProcessorPil,
    "Bit": bit.BitImageProcessorPil,
}


def run(folder, pictures, output):
    """Run the helper program over the pictures; `folder` may be "-"."""
    command = [TOOLS / "preprocess_image", folder, *pictures, output]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def decode(path, tmp_path):
    """The picture as the engine decodes it."""
    output = tmp_path / "decoded.safetensors"
    result = run("-", [path], output)
    assert result.returncode == 0, result.stderr
    return load_file(output)["picture_0"]


def upright(path):
    """The picture as transformers' load_image makes it."""
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def processor_folder(tmp_path, config, model=None):
    """A model folder with that preprocessor_config.json."""
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    if model:
        (folder / "config.json").write_text(json.dumps({"model_type": model}))
    return folder


def pixel_values(tmp_path, config, pictures, model=None):
    """What the engine's processor makes of the pictures."""
    output = tmp_path / "values.safetensors"
    result = run(processor_folder(tmp_path, config, model), pictures, output)
    assert result.returncode == 0, result.stderr
    return load_file(output)["pixel_values"]


def expected_values(kind, config, pictures):
    """What the PIL backend of transformers makes of them."""
    processor = PROCESSORS[kind](**config)
    return processor([upright(path) for path in pictures], return_tensors="np")["pixel_values"]


def refused(tmp_path, picture, folder="-"):
    """The error of a picture or a processor that must be refused."""
    output = tmp_path / "refused.safetensors"
    result = run(folder, [picture], output)
    assert result.returncode == 2, result.stderr
    assert not output.exists()
    return result.stderr


@pytest.fixture
def noise():
    """Seeded random pixels: every level, no smoothness."""
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.name)
def test_decodes_photographs(path, tmp_path):
    """PNG to the bit; JPEG within one level, since libjpegs may round differently."""
    picture = decode(path, tmp_path)
    expected = np.asarray(upright(path))
    assert picture.shape == expected.shape
    difference = np.abs(picture.astype(int) - expected)
    assert difference.max() <= (0 if path.suffix == ".png" else 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_decodes_png_modes(mode, noise, tmp_path):
    """Grey, palette and alpha become RGB as convert("RGB") makes them."""
    rgba = np.dstack([noise, noise[::-1, :, 0]])
    path = tmp_path / "picture.png"
    Image.fromarray(rgba).convert(mode).save(path)
    np.testing.assert_array_equal(decode(path, tmp_path), upright(path))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_decodes_small_palettes(bits, noise, tmp_path):
    """Palettes of less than 8 bits, with a transparent colour."""
    path = tmp_path / "picture.png"
    picture = Image.fromarray(noise).quantize(2**bits)
    picture.save(path, bits=bits, transparency=0)
    np.testing.assert_array_equal(decode(path, tmp_path), upright(path))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_decodes_jpeg_kinds(subsampling, progressive, tmp_path):
    """Every chroma subsampling, baseline and progressive."""
    path = tmp_path / "picture.jpg"
    with Image.open(PHOTOGRAPHS[1]) as picture:
        options = {"subsampling": subsampling, "progressive": progressive}
        picture.crop((0, 0, 211, 133)).save(path, **options)
    difference = np.abs(decode(path, tmp_path).astype(int) - np.asarray(upright(path)))
    assert difference.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_one_pixel_wide_works(size, suffix, noise, tmp_path):
    """A picture of one pixel, column or row is a picture."""
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(noise[: size[1], : size[0]]).save(path)
    config = {"size": {"height": 16, "width": 12}}
    values = pixel_values(tmp_path, {"image_processor_type": "ViTImageProcessor", **config}, [path])
    np.testing.assert_allclose(values, expected_values("ViT", config, [path]), atol=1.001 * 2 / 255)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("where", ["jpg", "png", "xmp.jpg", "xmp.png", "raw.png"])
def test_orientation(orientation, where, noise, tmp_path):
    """EXIF and XMP orientations, valid or not, wherever programs store them."""
    path = tmp_path / f"picture.{where}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    xmp = f'<x:xmpmeta><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'
    options = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
    if where in ("jpg", "png"):
        options["exif"] = exif
    elif where == "xmp.jpg":
        options["xmp"] = xmp.encode()
    else:
        info = options["pnginfo"] = PngInfo()
        if where == "xmp.png":
            info.add_itxt("XML:com.adobe.xmp", xmp)
        else:
            data = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
            text = f"\nexif\n{len(data):8}\n{data.hex()}\n"
            info.add_text("Raw profile type exif", text, zip=True)
    Image.fromarray(noise).save(path, **options)
    expected = np.asarray(upright(path))
    assert (expected.shape[0] > expected.shape[1]) == (orientation in (5, 6, 7, 8))
    difference = np.abs(decode(path, tmp_path).astype(int) - expected)
    assert difference.max() <= (0 if path.suffix == ".png" else 1)


@pytest.mark.parametrize("resample", range(6))
@pytest.mark.parametrize(
    "size", [(224, 224), (7, 5), (1, 1), (600, 450), (37, 200), (100, 53), (37, 53)]
)
def test_resize_is_pil_to_the_bit(resample, size, noise, tmp_path):
    """Every filter, up and down, one axis and both."""
    config = {"image_processor_type": "ViTImageProcessor", "resample": resample}
    config |= {"size": {"height": size[0], "width": size[1]}}
    config |= {"do_rescale": False, "do_normalize": False}
    photograph = tmp_path / "noise.png"
    Image.fromarray(noise).save(photograph)
    for path in (photograph, SKIMAGE / "astronaut.png"):
        values = pixel_values(tmp_path, config, [path])
        expected = upright(path).resize(size[::-1], resample)
        np.testing.assert_array_equal(values[0].transpose(1, 2, 0), np.asarray(expected))


@pytest.mark.parametrize("kind", PROCESSORS)
def test_default_processors(kind, tmp_path):
    """The defaults of every processor type, over a batch of pictures."""
    config = {"image_processor_type": f"{kind}ImageProcessor"}
    pngs = [path for path in PHOTOGRAPHS if path.suffix == ".png"]
    values = pixel_values(tmp_path, config, pngs)
    np.testing.assert_allclose(values, expected_values(kind, {}, pngs), rtol=0, atol=1e-6)
    jpegs = [path for path in PHOTOGRAPHS if path.suffix == ".jpg"]
    one_level = 1.001 / 255 / min(PROCESSORS[kind].image_std)
    values = pixel_values(tmp_path, config, jpegs)
    np.testing.assert_allclose(values, expected_values(kind, {}, jpegs), rtol=0, atol=one_level)


@pytest.mark.parametrize(
    "config",
    [
        {"size": 64},
        {"size": 64, "default_to_square": True},
        {"size": [30, 40], "do_center_crop": False},
        {"size": {"shortest_edge": 61}, "crop_size": 50},
        {"size": {"shortest_edge": 61}, "crop_size": {"height": 99, "width": 20}},
        {"size": {"shortest_edge": 60, "longest_edge": 85}, "do_center_crop": False},
        {"size": {"shortest_edge": 60, "longest_edge": 300}, "do_center_crop": False},
        {"size": {"max_height": 77, "max_width": 90}, "do_center_crop": False},
        {"do_resize": False, "crop_size": [75, 700]},
        {"do_resize": False, "do_center_crop": False},
        {"do_rescale": False},
        {"do_normalize": False, "rescale_factor": 0.017},
        {"image_mean": 0.25, "image_std": [0.1, 0.2, 0.3], "resample": 1},
        {"size": None, "do_resize": None},
        {"do_center_crop": None, "crop_size": None, "size": 32, "default_to_square": None},
        {"rescale_factor": None, "do_rescale": None},
    ],
    ids=json.dumps,
)
def test_every_field_is_honoured(config, tmp_path):
    """Each field changes the pixels as it does in transformers."""
    for path in (SKIMAGE / "chelsea.png", SKIMAGE / "astronaut.png"):
        own = {"image_processor_type": "CLIPImageProcessorFast", "processor_class": None, **config}
        values = pixel_values(tmp_path, own, [path])
        expected = expected_values("CLIP", config, [path])
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)


def test_model_type_stands_in_for_the_type(tmp_path):
    """Old configs name no type; config.json decides."""
    path = SKIMAGE / "chelsea.png"
    values = pixel_values(tmp_path, {"size": 32, "do_resize": True}, [path], model="vit")
    np.testing.assert_allclose(values, expected_values("ViT", {"size": 32}, [path]), atol=1e-6)


def test_reads_what_transformers_saves(tmp_path):
    """A folder that save_pretrained wrote."""
    path = SKIMAGE / "coffee.png"
    for kind, processor in PROCESSORS.items():
        folder = tmp_path / kind
        processor().save_pretrained(folder)
        output = tmp_path / "values.safetensors"
        assert run(folder, [path], output).returncode == 0
        values = load_file(output)["pixel_values"]
        np.testing.assert_allclose(values, expected_values(kind, {}, [path]), atol=1e-6)


@pytest.mark.parametrize(
    "config, part",
    [
        ({"image_processor_type": "DonutImageProcessor"}, "DonutImageProcessor"),
        ({"do_pad": True}, "do_pad"),
        ({"crop_pct": 0.9}, "crop_pct"),
        ({"size": {"longest_edge": 9}}, "longest_edge"),
        ({"size": {"height": 9}}, "height"),
        ({"size": {"height": 9, "width": 9, "shortest_edge": 9}}, "shortest_edge"),
        ({"size": {"min_pixels": 9, "max_pixels": 99}}, "min_pixels"),
        ({"size": 0}, "size"),
        ({"size": "large"}, "size"),
        ({"resample": 6}, "resample"),
        ({"resample": "bicubic"}, "resample"),
        ({"do_resize": "yes"}, "do_resize"),
        ({"image_std": [1, 0, 1]}, "image_std"),
        ({"image_mean": [1, 0]}, "image_mean"),
        ({"do_center_crop": True}, "crop_size"),
        ({"size": None}, "size"),
        ({"resample": None}, "resample"),
        ({"image_std": None}, "image_std"),
        ({"data_format": "channels_last"}, "data_format"),
    ],
    ids=str,
)
def test_refuses_fields_by_name(config, part, tmp_path):
    """What the engine does not offer is refused by its name."""
    config = {"image_processor_type": "ViTImageProcessor", **config}
    error = refused(tmp_path, PHOTOGRAPHS[0], processor_folder(tmp_path, config))
    assert part in error and "preprocessor_config.json" in error


def test_refuses_pictures_of_other_kinds(noise, tmp_path):
    """Each other kind of picture with how to convert it."""
    picture = Image.fromarray(noise)
    cases = {
        "cmyk.jpg": (picture.convert("CMYK"), {}, "CMYK"),
        "deep.png": (Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {}, "16 bits"),
        "moving.png": (
            picture,
            {"save_all": True, "append_images": [picture.rotate(180)]},
            "animated",
        ),
        "a.gif": (picture, {}, "GIF"),
        "a.webp": (picture, {}, "WebP"),
        "a.bmp": (picture, {}, "BMP"),
        "a.tiff": (picture, {}, "TIFF"),
    }
    for name, (content, options, part) in cases.items():
        path = tmp_path / name
        content.save(path, **options)
        error = refused(tmp_path, path)
        assert part in error and name in error and "convert" in error


def test_refuses_what_is_no_picture(tmp_path):
    """Text, an empty file, no file, and a folder."""
    path = tmp_path / "notes.txt"
    path.write_text("not a picture")
    assert "notes.txt" in refused(tmp_path, path)
    path.write_text("")
    assert "empty" in refused(tmp_path, path)
    assert "missing.png" in refused(tmp_path, tmp_path / "missing.png")
    assert "folder" in refused(tmp_path, tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_refuses_truncated_pictures(suffix, kept, tmp_path):
    """However little is missing."""
    path = tmp_path / f"picture{suffix}"
    with Image.open(PHOTOGRAPHS[0]) as picture:
        picture.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    error = refused(tmp_path, path)
    assert "truncated or damaged" in error or kept < 0.1


def test_refuses_a_bomb(tmp_path):
    """A small file of very many pixels."""
    path = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000)).save(path)
    assert "20000×20000" in refused(tmp_path, path)


def test_safetensors_reads_what_the_engine_wrote(tmp_path):
    """The reference reads it, and writes the same tensors as the same bytes."""
    output = tmp_path / "values.safetensors"
    folder = processor_folder(tmp_path, {"image_processor_type": "ViTImageProcessor"})
    assert run(folder, PHOTOGRAPHS[:2], output).returncode == 0
    tensors = load_file(output)
    assert sorted(tensors) == ["picture_0", "picture_1", "pixel_values"]
    again = tmp_path / "again.safetensors"
    save_file(tensors, again)
    assert again.read_bytes() == output.read_bytes()
