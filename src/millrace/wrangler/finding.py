"""Look for a file as wrangler does: upwards from a folder, one kind after the other."""

from pathlib import Path

FILE_NAMES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")


def find_wrangler(folder: Path) -> tuple[Path | None, str | None]:
    """Find the file that counts in a folder, with a warning that names others which could be meant as well.

    The kinds go before the distance, as with wrangler: a wrangler.json further up wins over a wrangler.toml here.
    """
    here = folder.absolute()
    nearest = [path for name in FILE_NAMES if (path := _upwards(here, name))]
    if not nearest:
        return None, None
    chosen, *others = nearest
    rivals = [path for path in others if path.is_relative_to(chosen.parent)]
    return chosen, f"{chosen} is read; {_named(chosen, rivals)}." if rivals else None


def _upwards(folder: Path, name: str) -> Path | None:
    found = (path / name for path in (folder, *folder.parents))
    return next((path for path in found if path.is_file()), None)


def _named(chosen: Path, rivals: list[Path]) -> str:
    where = "beside it" if all(path.parent == chosen.parent for path in rivals) else "nearer"
    names = (path.name if path.parent == chosen.parent else str(path) for path in rivals)
    return f"{where}, and not read: {' and '.join(names)}"
