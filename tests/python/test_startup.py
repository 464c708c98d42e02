"""bench/models/startup.py on a tiny model: what a second process finds of the first one's work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import ostinato as package

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"\| (ostinato\.compile|cache_compile) \|(?: *(\d+\.\d\d) \|){5} (\d+) \|")


def test_second_process_traces_nothing(tiny):
    """The keys of stored traces are the same in processes whose hashes of texts are not."""
    script = ROOT / "bench/models/startup.py"
    command = [sys.executable, script, "--only", "start", "--rounds", "1", "--model", tiny / "qwen"]
    result = subprocess.run(
        [*command, "--lanes", "ostinato.compile", "cache_compile"],
        env=os.environ | {"PYTHONPATH": str(Path(package.__path__[0]).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    traced = [(row[1], int(row[3])) for row in ROW.finditer(result.stdout)]
    assert traced == [
        ("ostinato.compile", 0),
        ("cache_compile", 1),
        ("ostinato.compile", 0),
        ("cache_compile", 0),
    ]
