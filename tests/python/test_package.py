"""The package as it is installed: its files, what it needs, and what it offers.

No second build: the wheel is put together of what the release build has made and what
scikit-build-core adds to it.
"""

import ast
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import ostinato
from ostinato import _engine

ROOT = Path(__file__).resolve().parents[2]


def hook(name, folder, settings):
    """Calls a hook of the build backend as pip does, in the project's folder."""
    code = f"import scikit_build_core.build as b; print(b.{name}({str(folder)!r}, {settings!r}))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "deprecated" not in result.stdout + result.stderr
    return folder / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory, ostinato):
    """A folder with the package as `pip install` leaves it, the command in `bin`."""
    folder = tmp_path_factory.mktemp("installed")
    build = ostinato.parents[2]
    command = ["cmake", "--install", build, "--component", "python", "--prefix", folder]
    subprocess.run(command, capture_output=True, check=True)
    # Only what is no product of CMake's: the modules and the metadata.
    settings = {"wheel.cmake": "false", "wheel.platlib": "true"}
    wheel = hook("build_wheel", tmp_path_factory.mktemp("wheel"), settings)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def python(installed):
    """Runs a program with the installed package in front of any other."""

    def call(program):
        environment = os.environ | {"PYTHONPATH": str(installed)}
        result = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=installed,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return call


def test_holds_what_belongs_there(installed):
    """The command, the extension with its stub, every module, the licence; and nothing else."""
    found = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    extension = {name for name in found if re.fullmatch(r"ostinato/_engine\..*\.so", name)}
    assert len(extension) == 1
    modules = {f"ostinato/{p.name}" for p in (ROOT / "python/ostinato").glob("*.py")}
    expected = modules | {"bin/ostinato", "ostinato/_engine.pyi", "ostinato/py.typed"}
    metadata = {name for name in found if ".dist-info/" in name}
    assert found - extension - metadata == expected
    assert any(name.endswith("licenses/LICENSE") for name in metadata)
    assert (installed / "bin/ostinato").stat().st_size < 20e6


def test_extension_is_of_the_stable_abi():
    """One wheel for Python 3.12 and later, whose extension uses no more than Python promises.

    Before 3.12 nanobind has no stable ABI: there the extension is of this Python alone.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]
    assert settings["wheel"]["py-api"] == "cp312"
    suffix = "abi3" if sys.version_info >= (3, 12) else sysconfig.get_config_var("SOABI")
    assert Path(_engine.__file__).name == f"_engine.{suffix}.so"


def test_metadata(installed):
    """The version of the engine, no dependency, and the entry point of the backend."""
    (folder,) = installed.glob("*.dist-info")
    found = importlib.metadata.PathDistribution(folder)
    assert found.version == ostinato.__version__
    assert found.requires is None
    (entry,) = found.entry_points
    assert (entry.group, entry.name) == ("torch_dynamo_backends", "ostinato")
    result = subprocess.run([installed / "bin/ostinato", "--version"], capture_output=True)
    assert result.stdout.decode() == f"ostinato {found.version}\n"


def test_needs_no_torch(python):
    """It can be imported without; what needs PyTorch says so."""
    printed = python(
        "import sys; sys.modules['torch'] = None\n"
        "import ostinato; print(ostinato.__version__, ostinato.records(), ostinato.__file__)\n"
        "try: ostinato.compile_fx\n"
        "except ImportError as error: print(error)\n"
    )
    assert printed.startswith(f"{ostinato.__version__} [] ")
    assert printed.splitlines()[-1] == (
        "ostinato.compile_fx needs PyTorch. Install PyTorch 2.10 or later."
    )


def test_registers_the_backend(python, installed):
    """`torch.compile` finds it by its name, without an import of the package."""
    printed = python(
        "import torch\n"
        "function = torch.compile(torch.nn.ReLU(), backend='ostinato', fullgraph=True)\n"
        "with torch.inference_mode(): print(function(torch.tensor([-1.0, 2.0])).tolist())\n"
        "import sys; print(sys.modules['ostinato'].__file__)\n"
    )
    assert printed.splitlines() == ["[0.0, 2.0]", str(installed / "ostinato/__init__.py")]


def test_source_distribution(tmp_path):
    """What the wheel is built of is there, and no build."""
    archive = hook("build_sdist", tmp_path, {})
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {"CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"} <= names
    for source in ("cmake/OstinatoCompile.cmake", "python/stub.pat", "src/ostinato/cli/main.cpp"):
        assert source in names
    assert not [name for name in names if name.startswith(("build/", ".git/", ".venv/", "out/"))]
    assert archive.stat().st_size < 5e6


def test_build_requirements_are_the_same():
    """The tests build with what pip builds with."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    lines = (ROOT / "requirements/test.txt").read_text().splitlines()
    assert set(wanted) <= {line.partition(" ")[0] for line in lines}


def test_stub_names_what_the_extension_has(installed):
    """Every public name of the extension is in its stub, functions and methods with docstrings."""
    tree = ast.parse((installed / "ostinato/_engine.pyi").read_text())
    named = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            named[node.name] = ast.get_docstring(node)
        elif isinstance(node, ast.AnnAssign):
            named[node.target.id] = "a constant"
    public = {name for name in dir(_engine) if not name.startswith("_")} | {"__version__"}
    assert set(named) == public
    assert not [name for name, text in named.items() if not text]


# Complaints are named: were the stub or the annotations not read, all would be Any, and none made.
USER = """
from typing import assert_type
import ostinato
from ostinato import _engine
from ostinato.inference import cache_compile, readable_cache

assert_type(ostinato.__version__, str)
assert_type(ostinato.records(), list[ostinato.Record])
assert_type(ostinato.records(as_json=True), str)
assert_type(ostinato.Error("").hint, str)
assert_type(readable_cache("compiled_module"), str)
assert_type(_engine.pass_names(), list[str])
assert_type(_engine.Graph("g").add_input("x", "float32", [2]).shape, list[_engine.Dim])
assert_type(_engine.Dim.symbol("s") == 2, bool)
ostinato.compile(print, options=3)  # type: ignore[arg-type]
cache_compile(abs, dynamic="yes")  # type: ignore[arg-type]
_engine.has_op(3)  # type: ignore[arg-type]
"""


def test_types(installed, tmp_path):
    """A type checker finds the stub sound, and sees the types of what the package offers."""
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        "[mypy]\nstrict = true\nfollow_imports = silent\n"
        "disallow_any_generics = false\n"  # the extension takes lists of anything
        f"mypy_path = {installed}\ncache_dir = {os.devnull}\n"
        "[mypy-torch.*,transformers.*]\nfollow_imports = skip\n"  # long to read
    )
    user = tmp_path / "user.py"
    user.write_text(USER)
    command = [sys.executable, "-m", "mypy", "--config-file", settings, user]
    result = subprocess.run(
        [*command, installed / "ostinato/_engine.pyi"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_public_name_is_documented():
    """`__all__` is what there is, and each says what it is; functions, what they raise."""
    assert sorted(ostinato.__all__) == sorted(set(ostinato.__all__))
    for name in ostinato.__all__:
        value = getattr(ostinato, name)
        if name == "__version__":
            assert re.fullmatch(r"\d+\.\d+\.\d+", value)
            continue
        assert len(inspect.getdoc(value) or "") > 20, name
        assert name in dir(ostinato)


def test_bench_is_a_function_and_a_command():
    """`ostinato.bench` is called; `python -m ostinato.bench` runs the module of that name."""
    assert inspect.isfunction(ostinato.bench)
    text = inspect.getdoc(ostinato.bench)
    for name in inspect.signature(ostinato.bench).parameters:
        assert f"{name}: " in text, name
    for part in ("milliseconds", "bytes", "Raises:"):
        assert part in text
