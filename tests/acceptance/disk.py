"""A data directory on a disk whose power can be cut; lost_writes.c keeps the account of what was synced."""

import random
import shutil
from pathlib import Path

SECTOR_BYTES = 512


class FragileDisk:
    """Run a process with `environ` on `data`, kill it, `cut`; what was not synced is gone."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.data, self._mirror, self._left = folder / "data", folder / "mirror", folder / "left"
        self.data.mkdir()
        self._mirror.mkdir()
        self.environ = {
            "LD_PRELOAD": str(library),
            "LOST_WRITES_DIR": str(self.data),
            "LOST_WRITES_MIRROR": str(self._mirror),
        }

    def cut(self, chance: random.Random | None = None) -> None:
        """Leave what was synced; with `chance`, any sectors of what was written since may have arrived, too."""
        self._left.mkdir()
        for inode, name in self._names(live=chance is not None):
            self._left.joinpath(name).write_bytes(self._content(inode, chance))
        shutil.rmtree(self.data)
        shutil.rmtree(self._mirror)
        self._mirror.mkdir()
        self._left.rename(self.data)

    def _names(self, *, live: bool) -> list[tuple[str, str]]:
        if live:
            return [(str(file.stat().st_ino), file.name) for file in self.data.iterdir()]
        lines = (self._mirror / "names").read_text().splitlines()
        return [(inode, name) for inode, name in (line.split(" ", 1) for line in lines)]

    def _content(self, inode: str, chance: random.Random | None) -> bytes:
        synced = self._read(f"{inode}.synced")
        if chance is None:
            return synced
        live = self._read(f"{inode}.live")
        size = chance.choice((len(synced), len(live)))
        sectors = (
            chance.choice((synced, live))[at : at + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
            for at in range(0, size, SECTOR_BYTES)
        )
        return b"".join(sectors)[:size]

    def _read(self, name: str) -> bytes:
        path = self._mirror / name
        return path.read_bytes() if path.exists() else b""
