"""Files of the compile cache: written whole or not at all, read only when nobody tampered.

A file is one line `ostinato.cache FORMAT SHA256`, one line of JSON, and the elements of constants.
The checksum covers all that follows the first line. Nothing in a file is ever executed.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

FORMAT = 1
_MAGIC = b"ostinato.cache"


class UnusableFileError(Exception):
    """Why a file or folder of the cache is not used."""


def check_folder(folder: Path):
    """Raises UnusableFileError for a folder that somebody else can write to."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise UnusableFileError(f"{folder} is no folder")
    if found.st_uid != os.geteuid():
        raise UnusableFileError(f"{folder} belongs to the user {found.st_uid}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnusableFileError(f"{folder} can be written to by others")


def make_folders(root: Path, folder: Path):
    """Makes the folder and those between it and the root, for this user alone."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(root.resolve())
    for parent in [*reversed(folder.relative_to(root).parents), folder.relative_to(root)]:
        path = root / parent
        path.mkdir(mode=0o700, exist_ok=True)
        if path != root:
            check_folder(path)


def write_file(path: Path, document: dict[str, Any], elements: list[bytes]):
    """Puts the file there in one step, mode 600. Raises OSError."""
    text = json.dumps({**document, "sizes": [len(item) for item in elements]}).encode()
    body = b"\n".join([text, b"".join(elements)])
    head = b"%s %d %s\n" % (_MAGIC, FORMAT, hashlib.sha256(body).hexdigest().encode())
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new.")  # mode 600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(head + body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read_bytes(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        if path.is_symlink():
            raise UnusableFileError(f"{path} is a symbolic link") from error
        raise UnusableFileError(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableFileError(f"{path} is no regular file")
        if found.st_uid != os.geteuid():
            raise UnusableFileError(f"{path} belongs to the user {found.st_uid}")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise UnusableFileError(f"{path} is open to others: expected the mode 600")
        return file.read()


def read_file(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The document and the elements of its constants.

    Raises FileNotFoundError, or UnusableFileError with the reason.
    """
    head, _, body = _read_bytes(path).partition(b"\n")
    words = head.split(b" ")
    if len(words) != 3 or words[0] != _MAGIC:
        raise UnusableFileError(f"{path} is no file of the cache")
    if words[1] != b"%d" % FORMAT:
        raise UnusableFileError(
            f"{path} is of format {words[1].decode(errors='replace')}, expected {FORMAT}"
        )
    if words[2] != hashlib.sha256(body).hexdigest().encode():
        raise UnusableFileError(f"{path} is damaged: its checksum is another")
    text, _, rest = body.partition(b"\n")
    document = json.loads(text)
    elements, at = [], 0
    for size in document["sizes"]:
        elements.append(rest[at : at + size])
        at += size
    return document, elements


def nearest_differences(paths: list[Path], key: dict[str, str]) -> dict[str, str]:
    """What of a key is other than in that of the nearest file, by name, described.

    Empty where no file can be read that has another key.
    """
    nearest: dict[str, str] = {}
    for path in paths:
        with contextlib.suppress(UnusableFileError, OSError, ValueError, KeyError):
            old = read_file(path)[0]["key"]
            found = {
                name: f"{name} ({old.get(name)} then, {key.get(name)} now)"
                for name in {**old, **key}
                if old.get(name) != key.get(name)
            }
            if found and (not nearest or len(found) < len(nearest)):
                nearest = found
    return nearest
