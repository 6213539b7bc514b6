"""The pages about what a message may ask for: their commands work, and their examples print what they say."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.cli.main import main
from tests.docs.pages import DOCS, blocks
from tests.support import KEY, Server

HOWTO = DOCS / "howto"
SAID = re.compile(r"print\(.*\)  # (.*)$|^# (.*)$", re.MULTILINE)
PAGES = ("priority", "schedule", "deduplication", "ordering", "rate-limits", "headers", "fan-out", "dead-letters")
THERE = {"dead-letters": "orders-dlq"}  # what the commands of a page expect to be there


@pytest.fixture
def here(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server that commands and clients find in the environment."""
    monkeypatch.setenv("MILLRACE_URL", server.url)
    monkeypatch.setenv("MILLRACE_TOKEN", KEY)
    return server


def _commands(page: str) -> list[str]:
    lines = [line for block in blocks(HOWTO / f"{page}.md", "bash") for line in block.text.splitlines()]
    made = f"queues create {THERE.get(page)}"
    return [line for line in lines if line.startswith("millrace ") and "$" not in line and made not in line]


@pytest.mark.parametrize("page", PAGES)
def test_the_example_of_a_page_prints_what_it_says(page: str, here: Server, capsys: pytest.CaptureFixture[str]) -> None:
    [text] = [block.text for block in blocks(HOWTO / f"{page}.md", "python")]

    exec(compile(text, page, "exec"), {})

    assert capsys.readouterr().out.splitlines() == ["".join(said) for said in SAID.findall(text)]


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page) and page != "schedule"])
def test_the_commands_of_a_page_work(
    page: str, here: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = THERE.get(page)
    if name is not None and not here.v4("GET", f"/queues?name={name}").result:
        here.create_queue(name)

    for line in _commands(page):
        monkeypatch.setattr(sys, "argv", shlex.split(line, comments=True))
        with pytest.raises(SystemExit) as ended:
            main()

        assert ended.value.code == 0, f"{line}: {capsys.readouterr().err}"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_scheduled_message_is_moved_and_taken_back_as_the_page_says(here: Server, tmp_path: Path) -> None:
    script = next(block.text for block in blocks(HOWTO / "schedule.md", "bash"))
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    environ = {"PATH": path, "MILLRACE_URL": here.url, "MILLRACE_TOKEN": KEY}

    done = subprocess.run(
        ["bash", "-eu", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "cancelled 1 message"


def test_a_double_is_stored_once_as_the_page_says(here: Server) -> None:
    [queue] = here.v4("GET", "/queues?name=payments").result

    assert here.v4("GET", f"/queues/{queue['queue_id']}/metrics").result["backlog_count"] == 1
