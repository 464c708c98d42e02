"""The named families on the device for NVIDIA's GPUs, by the command itself.

On the stand-in driver, or on a GPU where OSTINATO_TEST_GPU says that there is one.
"""

import os
import re
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_torch_models import MODELS

from ostinato import importer
from ostinato.backend import ostinato as backend

VALUE = re.compile(r'^(input|constant) %\d+ "(.+)" : (\w+)\((.*)\)$', re.MULTILINE)
ON_GPU = "OSTINATO_TEST_GPU" in os.environ
COSINE = {"float32": 0.999999, "bfloat16": 0.999, "float16": 0.9999}


def drawn(text, kind):
    """Random tensors for a graph's inputs or constants; integers that are right for any table."""
    torch.manual_seed(0)
    tensors = {}
    for found, name, dtype, sizes in VALUE.findall(text):
        if found == kind:
            shape = [int(size) for size in sizes.split(",") if size]
            floating = getattr(torch, dtype).is_floating_point
            tensor = torch.randn(shape) / 8 if floating else torch.randint(2, shape)
            tensors[name] = tensor.to(getattr(torch, dtype))
    return tensors


@pytest.fixture(scope="module", params=MODELS)
def family(request, tmp_path_factory):
    """The name of a small model, and the text of its largest graph."""
    found = []
    run = importer.Importer.run
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setenv("OSTINATO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(importer.Importer, "run", lambda self: found.append(self) or run(self))
        torch.manual_seed(0)
        torch._dynamo.reset()
        network, inputs = MODELS[request.param]()
        torch.compile(network.eval(), backend=backend, dynamic=False)(**inputs)
    text = max((str(level.graph) for item in found for level in item.levels), key=len)
    return request.param, text


def written(folder, text, dtype):
    """The graph in a dtype as a file, with its weights and inputs beside it."""
    folder.mkdir()
    text = text.replace("float32", dtype)
    (folder / "model.graph").write_text(text)
    save_file(drawn(text, "constant"), folder / "model.safetensors")
    save_file(drawn(text, "input"), folder / "inputs.safetensors")
    return folder


@pytest.mark.parametrize("dtype", COSINE)
def test_family(ostinato, tools, family, dtype, tmp_path):
    """What the graph lane gives there is what the plain loops on the CPU give in float32."""
    if not ON_GPU and not (tools / "libcublasLt.so.13").exists():
        pytest.skip("built without the device for NVIDIA's GPUs")
    name, text = family
    if name == "sam" and dtype != "float32":
        pytest.skip("a part of it is in float32 in every dtype")

    def run(folder, *arguments):
        subprocess.run(
            [ostinato, "run", folder / "model.graph", "--inputs", folder / "inputs.safetensors",
             "--output", folder / "out.safetensors", "--no-cache", *arguments],
            env=os.environ | ({} if ON_GPU else {"LD_LIBRARY_PATH": str(tools)}),
            check=True,
        )  # fmt: skip
        return load_file(folder / "out.safetensors")

    want = run(written(tmp_path / "plain", text, "float32"), "--mode", "reference")
    got = run(written(tmp_path / "cuda", text, dtype), "--device", "cuda")
    assert got.keys() == want.keys()
    for name, expected in want.items():
        pair = got[name].double().flatten(), expected.double().flatten()
        cosine = torch.nn.functional.cosine_similarity(*pair, dim=0)
        assert cosine >= COSINE[dtype], f"{name}: cosine {cosine:.8f}"
