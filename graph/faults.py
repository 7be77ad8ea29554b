"""What fails at night, in one line: what it is, where, and what mends it."""

from pathlib import Path

from tools import disk
from tools.footprint import lacking

DAMAGED = ("malformed", "file is not a database", "file is encrypted")
"""What SQLite says of a file that is none any more."""
MENDS = {
    "full": "the disk of {folder} is full ({free:.1f} MB free); make room there, and {again}",
    "read-only": "{folder} lies on a disk that is read-only; have it mounted for writing, and {again}",
}


def line(error: BaseException, folder: Path, going: bool) -> str:
    """What to say of a failure that is the disk's or the memory's, or of a damaged file; empty for any other.

    `going` is whether the command goes on with a run.
    """
    made = (folder / "recipe.toml").is_file()
    again = f"`breakfix resume {folder}` goes on where it was" if made and going else "give the same command again"
    if what := disk.trouble(error, folder):
        return MENDS[what].format(folder=folder, free=disk.free(folder) / 1e6, again=again)
    causes = list(disk.behind(error))
    if any(map(lacking, causes)):
        return f"there is too little memory for this process; give it more, or ask for less at once, and {again}"
    said = [str(one) for one in causes if disk.is_sqlite(one)]
    if made and any(word in text for text in said for word in DAMAGED):
        return f"a file of {folder} is damaged ({said[0]}); `breakfix resume {folder}` goes on from the last good state"
    return ""
