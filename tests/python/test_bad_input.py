"""Pictures, inputs and graph texts that are damaged or hostile: refused, without a crash."""

import json
import struct
import sys
import zlib

import numpy as np
import pytest
from damage import cut, make_odd
from PIL import Image
from safetensors.numpy import save_file

F32 = np.float32


# Pictures


def png_chunk(kind, data):
    """A PNG chunk with its checksum."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_claiming(width, height):
    """A small PNG that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + data + png_chunk(b"IEND", b"")


def jpeg_claiming(folder, width, height):
    """A small JPEG that claims a size."""
    Image.new("RGB", (16, 16)).save(folder / "small.jpg")
    content = bytearray((folder / "small.jpg").read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def save(mode, name, **options):
    """A picture of that mode, saved."""

    def make(folder):
        size = (40, 30)
        if mode == "I;16":
            Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)).save(folder / name)
        else:
            frames = [Image.new(mode, size, i) for i in range(3)]
            if options.pop("animated", False):
                options.update(save_all=True, append_images=frames[1:])
            frames[0].save(folder / name, **options)
        return folder / name

    return make


def bytes_of(name, content):
    """A file of those bytes."""

    def make(folder):
        (folder / name).write_bytes(content(folder) if callable(content) else content)
        return folder / name

    return make


def cut_picture(name):
    """The first half of a picture."""

    def make(folder):
        rng = np.random.default_rng(1)
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / name)
        cut((folder / name).stat().st_size // 2)(folder / name)
        return folder / name

    return make


PICTURES = {
    "a cut JPEG": (cut_picture("cut.jpg"), "truncated"),
    "a cut PNG": (cut_picture("cut.png"), "truncated"),
    "an empty file": (bytes_of("empty.jpg", b""), "empty"),
    "text": (bytes_of("text.jpg", b"no picture"), "something else"),
    "a JPEG's first bytes": (bytes_of("short.jpg", b"\xff\xd8\xff"), "could not decode"),
    "CMYK": (save("CMYK", "cmyk.jpg"), "CMYK"),
    "16 bits": (save("I;16", "deep.png"), "16 bits"),
    "an animated PNG": (save("P", "moving.png", animated=True), "animated"),
    "an animated GIF": (save("P", "moving.gif", animated=True), "GIF"),
    "WebP": (save("RGB", "picture.webp"), "WebP"),
    "BMP": (save("RGB", "picture.bmp"), "BMP"),
    "a PNG of 65000×65000": (bytes_of("huge.png", png_claiming(65000, 65000)), "65000×65000"),
    "a PNG of 2^31": (bytes_of("huger.png", png_claiming(2**31 - 1, 2**31 - 1)), "2147483647"),
    "a PNG of nothing": (bytes_of("none.png", png_claiming(0, 0)), "could not decode"),
    "a JPEG of 65000×65000": (
        bytes_of("huge.jpg", lambda folder: jpeg_claiming(folder, 65000, 65000)),
        "65000×65000",
    ),
    "a PNG of too few pixels": (bytes_of("few.png", png_claiming(9000, 9000)), "could not decode"),
    "a missing file": (lambda folder: folder / "nowhere.jpg", "there is no file"),
    "a folder": (lambda folder: make_odd(folder / "odd.jpg", "folder"), "folder"),
    "a pipe": (lambda folder: make_odd(folder / "odd.jpg", "pipe"), "pipe"),
    "a device": (lambda folder: make_odd(folder / "odd.jpg", "device"), "device"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_picture(tiny, tmp_path, refused, kind):
    """A picture that cannot be read is refused by its name."""
    make, text = PICTURES[kind]
    path = make(tmp_path)
    refused("run", tiny / "vit", "--image", path, texts=[path, text])


@pytest.mark.parametrize("size", [(1, 50), (50, 1), (1, 1), (1, 20000)])
@pytest.mark.parametrize("name", ["thin.png", "thin.jpg"])
def test_thin_pictures_work(tiny, tmp_path, run, size, name):
    """One pixel wide is a picture."""
    Image.new("RGB", size).save(tmp_path / name)
    assert json.loads(run("run", tiny / "vit", "--image", tmp_path / name, "--json").stdout)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "preprocessor_config.json"),
        ("{", "preprocessor_config.json"),
        ("[]", "preprocessor_config.json"),
        ({"size": {"height": 0, "width": 32}}, "size"),
        ({"size": {"height": 1 << 40, "width": 1 << 40}}, "size"),
        ({"size": {"shortest_edge": 10**9}}, "size"),
        ({"image_mean": [0, "x", 0]}, "image_mean"),
        ({"image_std": [0, 0, 0]}, "image_std"),
        ({"resample": 99}, "resample"),
        ({"size": {"height": 48, "width": 48}}, "pixel_values"),
    ],
)
def test_preprocessor(copy_of, tmp_path, refused, content, text):
    """A preprocessor_config.json that cannot be, or that makes what the model does not take."""
    folder = copy_of("vit")
    path = folder / "preprocessor_config.json"
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    if content is None:
        path.unlink()
    elif isinstance(content, str):
        path.write_text(content)
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | content))
    refused("run", folder, "--image", tmp_path / "a.png", texts=[text])


# Inputs by name


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"pixels": np.zeros((1, 3, 32, 32), F32)}, "pixel_values"),
        ({"pixel_values": np.zeros((3, 32, 32), F32)}, "pixel_values"),
        ({"pixel_values": np.zeros((1, 3, 32, 31), F32)}, "pixel_values"),
        ({"pixel_values": np.zeros((0, 3, 32, 32), F32)}, "pixel_values"),
        ({"pixel_values": np.zeros((1, 3, 32, 32), np.int64)}, "pixel_values"),
        ({"pixel_values": np.zeros((1, 3, 32, 32), np.float64)}, "F64"),
    ],
)
def test_inputs_file(tiny, tmp_path, refused, tensors, text):
    """Wrong names, shapes and dtypes in --inputs."""
    path = tmp_path / "in.safetensors"
    save_file(tensors, path)
    refused("run", tiny / "vit", "--inputs", path, texts=[text])


def test_inputs_out_of_range(tiny, tmp_path, refused):
    """Ids that the vocabulary does not have, and inputs that do not fit together."""
    path = tmp_path / "in.safetensors"
    for ids in ([[700]], [[-1]], [[2**62]], [[-(2**63)]]):
        save_file({"input_ids": np.array(ids)}, path)
        refused("run", tiny / "bert", "--inputs", path, texts=["embedding", "token ids"])
    save_file({"input_ids": np.zeros((1, 257), np.int64)}, path)
    refused("run", tiny / "bert", "--inputs", path, texts=[path, "256 tokens", "257"])
    save_file(
        {"input_ids": np.zeros((1, 3), np.int64), "attention_mask": np.ones((2, 3), np.int64)}, path
    )
    refused("run", tiny / "bert", "--inputs", path, texts=["attention_mask"])


# Graph text

GRAPH = 'ostinato.graph 1 "g"\ninput %0 "x" : float32({})\n%1 : float32({}) = {}\noutput "y" %1\n'
HUGE = 1 << 62
GRAPHS = {
    "no graph": ("hello", "line 1"),
    "empty": ("", "line 1"),
    "binary": (b"\x7fELF\0\0\0\xff" * 1000, "line 1"),
    "unknown operator": (GRAPH.format(2, 2, "aten.rellu(%0)"), "aten.relu"),
    "a lying type": (GRAPH.format(2, 3, "aten.relu(%0)"), "line 3"),
    "None where none may be": (
        GRAPH.format(2, 2, "aten.gelu(%0) {approximate=None}"),
        "approximate",
    ),
    "a missing constant": (
        'ostinato.graph 1 "g"\nconstant %0 "w" : float32(2)\noutput "y" %0\n',
        "/g.safetensors",
    ),
    "an input of 2^62": (GRAPH.format(HUGE, HUGE, "aten.relu(%0)"), "x"),
    "a result of 2^62": (
        GRAPH.format(1, HUGE, f"aten.expand(%0) {{size=[{HUGE}]}}"),
        "aten.expand",
    ),
    "a middle of 2^62": (
        'ostinato.graph 1 "g"\ninput %0 "x" : float32(1)\n'
        f"%1 : float32({HUGE}) = aten.expand(%0) {{size=[{HUGE}]}}\n"
        f"%2 : float32({HUGE}) = aten.relu(%1)\n"
        '%3 : float32() = aten.sum(%2)\noutput "y" %3\n',
        "aten.expand",
    ),
    "a full of 2^62": (
        'ostinato.graph 1 "g"\n'
        f"%2 : float32({HUGE}) = aten.full() {{size=[{HUGE}], fill_value=1.0}}\n"
        '%3 : float32() = aten.sum(%2)\noutput "y" %3\n',
        "aten.full",
    ),
    "a state of 2^62": (
        f'ostinato.graph 1 "g"\nstate %0 "s" : float32({HUGE})\n'
        '%1 : float32() = aten.sum(%0)\noutput "y" %1\n',
        '"s"',
    ),
}


@pytest.mark.parametrize("verb", [["run"], ["run", "--mode", "eager"], ["inspect", "--memory"]])
@pytest.mark.parametrize("kind", GRAPHS)
def test_graph_text(tmp_path, refused, kind, verb):
    """Hostile graph text."""
    content, text = GRAPHS[kind]
    path = tmp_path / "g.graph"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    texts = [text] if "2^62" in kind else [path, text]
    refused(*verb, path, texts=texts)


def test_not_a_model(tmp_path, refused):
    """What people give for a model by mistake."""
    save_file({"x": np.zeros(4, F32)}, tmp_path / "model.safetensors")
    for path in (
        tmp_path / "model.safetensors",
        tmp_path,
        tmp_path / "nowhere",
        tmp_path / ("n" * 300),
        make_odd(tmp_path / "pipe", "pipe"),
        "/dev/zero",
        "Qwen/Qwen3-0.6B",
        "",
        sys.executable,
    ):
        refused("run", path, texts=[path])
        refused("inspect", path, texts=[path])
        refused("tokenize", path, "--text", "a", texts=[path])
        refused("generate", path, "--prompt", "a", texts=[path])
