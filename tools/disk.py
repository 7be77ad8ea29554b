"""The disk: files that are there whole or not at all, those whose end a kill cut off, and what a failure says of it."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

WORDS = {
    "full": ("No space left", "disk is full", "uota exceeded"),
    "read-only": ("Read-only file system", "readonly database"),
}
"""What SQLite, torch, safetensors and a training stage's last words say, whose errors have no number."""
NUMBERS = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "read-only"}
NOTHING = 1 << 16
"""Bytes; where fewer are free, whatever fails in writing fails for that."""
WRITING = (OSError, RuntimeError)
"""What a write ends with that had no room and does not say so: `disk I/O error`, `file write failed`."""


def put(file: Path, pieces: Iterable[str | bytes]) -> None:
    """Writes a file that is whole at any time, for others read it meanwhile, and also after a crash of the machine."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            out.writelines(one if isinstance(one, bytes) else one.encode(errors="backslashreplace") for one in pieces)
        settle(part)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def settle(*files: Path) -> None:
    """Returns when the files, and all within those that are folders, would outlast a crash of the machine."""
    for file in files:
        for one in file.rglob("*") if file.is_dir() else [file]:
            if one.is_file():
                with one.open("rb") as opened:
                    os.fsync(opened.fileno())


def logged(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The JSON objects of a log's lines; a line that is none, as one that a kill has cut off, is left out."""
    found = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [one for one in found if isinstance(one, dict)]


def trouble(error: BaseException, folder: Path) -> str:
    """`full` or `read-only` where a failure is the disk's on which a folder lies; else empty."""
    for one in behind(error):
        if isinstance(one, OSError) and one.errno in NUMBERS:
            return NUMBERS[one.errno]
        for what, words in WORDS.items():
            if any(word in str(one) for word in words):
                return what
    lacks = free(folder) < NOTHING
    return "full" if lacks and any(isinstance(one, WRITING) or is_sqlite(one) for one in behind(error)) else ""


def free(folder: Path) -> int:
    """Bytes that are free on the disk that a folder lies on, or would; the working directory may be gone."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    return shutil.disk_usage(there).free


def behind(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def is_sqlite(error: BaseException) -> bool:
    return type(error).__module__ == "sqlite3"
