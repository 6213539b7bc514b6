"""What the README tells people to paste works when pasted, and the demo goes as told."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.support import KEY, Server

ADDRESS = "http://127.0.0.1:8787"
CURL = [block.text for block in blocks(ROOT / "README.md", "bash") if "curl" in block.text]
SDK = next(block.text for block in blocks(ROOT / "README.md", "python") if "cloudflare" in block.text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as `make run` leaves it: with the key beside the data."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin-key").write_text(KEY)
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_of_the_readme_push_pull_and_acknowledge(server: Server, folder: Path) -> None:
    script = CURL[0].replace(ADDRESS, server.url)

    done = _run("bash", "-eu", "-c", script, folder=folder)

    assert done.returncode == 0, done.stderr
    assert '"body":"Dear world"' in done.stdout
    assert done.stdout.rstrip().endswith('"result":{"ackCount":1,"retryCount":0,"warnings":{}}}')


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_line_of_the_readme_sends_an_event(server: Server, folder: Path) -> None:
    script = CURL[1].replace(ADDRESS, server.url)

    done = _run("bash", "-eu", "-c", script, folder=folder)

    assert '"status":"accepted"' in done.stdout


def test_the_python_sdk_lines_of_the_readme_work(server: Server, folder: Path) -> None:
    script = SDK.replace(ADDRESS, server.url)

    done = _run(sys.executable, "-c", script, folder=folder)

    assert done.returncode == 0, done.stderr
    assert "ack_count=1" in done.stdout


def test_the_demo_goes_as_told_and_prints_its_table() -> None:
    done = _run(sys.executable, "-m", "examples.demo", folder=ROOT)

    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["message", "delivery", "result"] in lines
    assert ["order", "of", "coffee", "3", "handled"] in lines
    assert "Reason: no umbrella in stock." in done.stdout
    assert lines[-1][:4] == ["All", "of", "it", "as"]


def test_an_interrupted_demo_leaves_no_server_behind(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(
        [sys.executable, "-m", "examples.demo"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
    )
    assert "http://127.0.0.1" in demo.stdout.readline()

    demo.send_signal(signal.SIGTERM)

    assert demo.wait(20) != 0
    assert list(tmp_path.iterdir()) == []


def _run(*command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=60)
