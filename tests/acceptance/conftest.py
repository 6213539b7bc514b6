"""Fixtures of the acceptance tests: small libraries that are preloaded into the server."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import with_packages

HERE = Path(__file__).parent


def _compile(source: str, folder: Path) -> Path:
    compiler = shutil.which("cc")
    command = [compiler] if compiler else [*with_packages("ziglang==0.17.1"), "python", "-m", "ziglang", "cc"]
    library = folder / Path(source).with_suffix(".so").name
    command += [
        "-shared",
        "-fPIC",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(library),
        str(HERE / source),
        "-ldl",
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return library


@pytest.fixture(scope="session")
def lost_writes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that tells what a power cut would leave."""
    return _compile("lost_writes.c", tmp_path_factory.mktemp("lost-writes"))


@pytest.fixture(scope="session")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library through which a test sets the wall clock of one process."""
    return _compile("shifted_clock.c", tmp_path_factory.mktemp("shifted-clock"))
