"""The commands of the pages on moving and on backups work when they are pasted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.cli.applications import SCHEMAS
from millrace.sql.sqlite.directory import prepare_directory
from tests.clusters import fresh_database
from tests.docs.pages import DOCS, blocks

SERVES = "millrace serve"
CHECK = 'millrace db check --store "$DATABASE_URL"'  # which does not like a cluster without fsync


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a data directory in it, as the pages speak of."""
    prepare_directory(tmp_path / "data", SCHEMAS)
    return tmp_path


def pasted(page: str, folder: Path, **environ: str) -> str:
    """Run all commands of a page, but for those that serve until they are stopped; give what they print."""
    lines = [line for block in blocks(DOCS / "howto" / page, "bash") for line in block.text.splitlines()]
    script = "\n".join(line for line in lines if not line.startswith(SERVES)).replace(CHECK, f"{CHECK} || true")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_directory_is_backed_up_checked_and_restored(folder):
    printed = pasted("back-up.md", folder)

    assert "backup.db is sound" in printed
    assert "restored backup.db to restored/millrace.db: " in printed


def test_a_directory_moves_to_postgres_and_back(folder):
    with fresh_database() as url:
        printed = pasted("move-to-postgres.md", folder, DATABASE_URL=url)

    assert printed.count("both sides are the same") == 2
