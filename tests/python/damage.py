"""Ways to damage files, for the tests of bad input."""

import json
import os
import struct


def header_of(path):
    """The header of a safetensors file, and its data."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_weights(path, header, data):
    """A safetensors file with that header, which may be text."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def cut(length):
    """Damage: keeps the beginning only; a negative length cuts that much off the end."""
    return lambda path: path.write_bytes(path.read_bytes()[:length])


def put(offset, value):
    """Damage: other bytes at an offset."""

    def change(path):
        content = bytearray(path.read_bytes())
        content[offset : offset + len(value)] = value
        path.write_bytes(content)

    return change


def make_odd(path, kind):
    """A pipe, a link to an endless device, or a folder."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path
