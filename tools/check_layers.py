#!/usr/bin/env python3
"""Checks that a room includes only rooms above it, and the limits of files and lines."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# From the top: a room may include itself and those before it.
ROOMS = ["base", "ir", "ops", "import", "text", "image", "passes", "device", "plan", "runtime"]
ROOMS += ["api", "bench", "cli"]
MAX_LINES = 500
MAX_COLUMNS = 100
INCLUDE = re.compile(r'#include "ostinato/(\w+)/')
# A public header shows no dependency: it includes the standard library's headers and its peers.
PUBLIC_INCLUDE = re.compile(r'#include (<\w+>|"ostinato/\w+\.h")$')


def problems(file: Path) -> list[str]:
    """What is wrong with one file, a line each."""
    name = file.relative_to(ROOT)
    lines = file.read_text().splitlines()
    found = [f"{name}:{MAX_LINES}: the file has {len(lines)} lines"] * (len(lines) > MAX_LINES)
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            found.append(f"{name}:{number}: {len(line)} columns")
        include = INCLUDE.match(line)
        public = name.parts[0] == "include"
        if public and line.startswith("#include") and not PUBLIC_INCLUDE.match(line):
            found.append(f"{name}:{number}: a public header may not include this")
        if include and name.parts[:2] == ("src", "ostinato"):
            room, other = name.parts[2], include[1]
            if ROOMS.index(other) > ROOMS.index(room):
                found.append(f"{name}:{number}: the room {room} stands above {other}")
            if other == "device" and room != "device" and not line.endswith('device/device.h"'):
                found.append(f"{name}:{number}: only device/device.h is open to other rooms")
    return found


def main() -> int:
    """Prints every problem; 1 if there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "--", "*.h", "*.cpp", "*.cu"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = [line for name in listed.stdout.split() for line in problems(ROOT / name)]
    print("\n".join(found) or "layers: every room keeps to its place")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
