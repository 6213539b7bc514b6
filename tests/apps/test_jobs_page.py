"""The commands of docs/jobs.md work when they are pasted, and count the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, blocks
from tests.support import KEY, Server

SECRET = "the-secret-that-backend-and-agent-share"
ENQUEUE, UPLOAD, SQL = [block.text for block in blocks(DOCS / "jobs.md", "bash")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("page") / "data", environ={"JWT_SECRET": SECRET}) as running:
        yield running


def paste(server, folder, *scripts):
    """Run the lines as one script; give the JSON that each line prints."""
    script = "\n".join(scripts).replace("http://127.0.0.1:8787", server.url).replace("curl ", "curl -sS ")
    commands = Path(sys.executable).parent
    environ = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "JWT_SECRET": SECRET,
        "MILLRACE_URL": server.url,
        "MILLRACE_TOKEN": KEY,
    }
    command = ["bash", "-eu", "-c", script.replace("\ncurl", "\necho; curl")]
    done = subprocess.run(command, check=False, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_lines_enqueue_pull_and_count(server, tmp_path):
    """S2-52."""
    printed = [json.loads(line) for line in paste(server, tmp_path, ENQUEUE).splitlines() if line]

    enqueued, pulled, counted = printed
    assert pulled["jobs"][0]["id"] == enqueued["jobId"]
    assert counted["stats"] == {"pending": 0, "leased": 1, "done": 0, "failed": 0}


def test_a_file_is_put_to_the_url_that_was_given(server, tmp_path):
    """S2-19, S2-25."""
    (tmp_path / "notes.txt").write_text("Hello")
    setup = ENQUEUE.splitlines()[0]
    create, put = UPLOAD.splitlines()
    take = (
        f"""UPLOAD_URL=$({create} | {sys.executable} -c 'import json,sys; print(json.load(sys.stdin)["uploadUrl"])')"""
    )
    base = 'case "$UPLOAD_URL" in /*) UPLOAD_URL="$JOBS$UPLOAD_URL";; esac'

    printed = paste(server, tmp_path, setup, take, base, put)

    assert json.loads(printed)["size"] == 5


def test_the_view_counts_as_the_stats_do(server, tmp_path):
    """S2-49."""
    printed = paste(server, tmp_path, SQL.replace("execute auditor", "execute auditor --json"))

    stats = server.call("GET", "/jobs/stats", key=SECRET).json["stats"]
    counted = {row["status"]: row["COUNT(*)"] for row in _rows(json.loads(printed))}
    assert counted == {status: number for status, number in stats.items() if number}


def _rows(printed):
    """Give the rows of wrangler's shape, a list with one answer."""
    [answer] = printed
    return answer["results"]
