"""What the page about crons tells people to write runs, and the commands on it say what they should."""

import os
import subprocess
import sys
from pathlib import Path

from tests.acceptance.programs import wait_until
from tests.docs.pages import DOCS, blocks
from tests.support import KEY, Server

PAGE = DOCS / "howto" / "crons.md"


def _block(language: str, word: str) -> str:
    return next(block.text for block in blocks(PAGE, language) if word in block.text)


def test_the_file_and_the_function_of_the_page_run_when_its_command_is_pasted(tmp_path: Path) -> None:
    (tmp_path / "wrangler.toml").write_text(_block("toml", "[triggers]"))
    (tmp_path / "tidy.py").write_text(_block("python", "async def tidy"))
    (tmp_path / "sweeping.py").write_text(_block("python", "async def sweep"))
    command = _block("bash", "crons run")
    arguments = ("--config", str(tmp_path / "wrangler.toml"), "--app", f"{tmp_path / 'sweeping.py'}:app")

    with Server(tmp_path / "data", *arguments) as server:
        first = _paste(server, command)
        _paste(server, "millrace crons run sweep")
        wait_until(lambda: _lines(server).count("done") == 2, 10, "the runs are not done")

        assert [line.split()[0] for line in first.splitlines()] == ["program", "shop", "shop", "sweep", "sent"]
        [queue] = server.v4("GET", "/queues?name=reports").result
        assert server.v4("GET", f"/queues/{queue['queue_id']}/metrics").result["backlog_count"] == 1
        server.wait_for_text("swept local")


def _lines(server: Server) -> list[str]:
    return [line.split()[-1] for line in _paste(server, "millrace crons list").splitlines()]


def _paste(server: Server, script: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "MILLRACE_URL": server.url, "MILLRACE_TOKEN": KEY}
    done = subprocess.run(["bash", "-eu", "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
