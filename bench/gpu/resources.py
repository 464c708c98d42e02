"""Registers, shared memory and spills of every kernel, as ptxas reports them.

python bench/gpu/resources.py [--architecture 80] [KERNEL...]

KERNEL is a file of device/cuda/kernels without its suffix; all of them if none is given. The
default architecture is 90a. Ends with 1 if a kernel of a persistent launch spills, which waits for
memory often enough. nvcc must be on the path.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src"
KERNELS = SOURCES / "ostinato/device/cuda/kernels"
ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads\n.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def parse(said: str) -> list[dict]:
    """The kernels that ptxas speaks of, in its order."""
    kernels = []
    for entry in ENTRY.finditer(said):
        shared = re.search(r"(\d+) bytes smem", entry["rest"])
        kernels.append(
            {
                "name": entry["name"],
                "registers": int(entry["registers"]),
                "shared": int(shared[1]) if shared else 0,
                "stack": int(entry["stack"]),
                "stored": int(entry["stores"]),
                "loaded": int(entry["loads"]),
            }
        )
    return kernels


def compiled(source: Path, architecture: str) -> list[dict]:
    """What ptxas says of a file's kernels."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "nvcc", "-std=c++20", f"-I{SOURCES}", "-cubin", "-Xptxas", "-v",
                "-gencode", f"arch=compute_{architecture},code=sm_{architecture}",
                "-o", str(Path(folder) / "kernels.cubin"), str(source),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        sys.exit(done.stderr)
    return parse(done.stderr)


def table(kernels: list[dict]) -> str:
    """In Markdown."""
    lines = [
        "| kernel | registers | static shared bytes | stack bytes | spills stored | loaded |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += ["| " + " | ".join(map(str, kernel.values())) + " |" for kernel in kernels]
    return "\n".join(lines)


def spilling(kernels: list[dict]) -> list[str]:
    """Kernels of persistent launches that must not, and do."""
    return [k["name"] for k in kernels if k["name"].startswith("persistent") and k["stored"]]


def main() -> None:
    """Compiles the files and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="90a")
    parser.add_argument("kernels", nargs="*")
    asked = parser.parse_args()
    names = asked.kernels or sorted(path.stem for path in KERNELS.glob("*.cu"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: compiled(KERNELS / f"{name}.cu", asked.architecture), names)
        kernels = [kernel for of_file in found for kernel in of_file]
    print(table(kernels))
    if spilling(kernels):
        sys.exit(f"These spill and must not: {', '.join(spilling(kernels))}")


if __name__ == "__main__":
    main()
