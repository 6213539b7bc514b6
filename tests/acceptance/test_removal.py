"""An application is a value: without it, the others and the engine work as before."""

import subprocess
import sys
from pathlib import Path

import pytest

from millrace.cli.applications import APPLICATIONS
from tests.support import Server

WITHOUT = """
import sys
from millrace.cli import applications
left = tuple(each for number, each in enumerate(applications.APPLICATIONS) if number != {number})
applications.APPLICATIONS = left
applications.SCHEMAS = tuple(each.schema for each in left if each.schema is not None)
from millrace.cli.main import main
main()
"""
OF_AN_APPLICATION = {
    "events": ("POST", "/events", {"payload": {}}),
    "jobs": ("GET", "/jobs/stats", None),
    "messaging": ("GET", "/api/messaging/status", None),
}


class ServerWithout(Server):
    """A server whose table of applications lacks one."""

    def __init__(self, data: Path, number: int) -> None:
        super().__init__(data, "--config", "")
        self._number = number

    def _command(self) -> list[str]:
        script = WITHOUT.format(number=self._number)
        return [sys.executable, "-c", script, "serve", "--port", "0", "--data", str(self.data)]


@pytest.mark.parametrize("number", range(len(APPLICATIONS)), ids=[each.name for each in APPLICATIONS])
def test_without_one_application_the_queues_and_the_others_work(number: int, tmp_path: Path) -> None:
    with ServerWithout(tmp_path / "data", number) as server:
        queue = server.create_queue("q", consumer={"type": "http_pull"})
        sent = server.v4("POST", f"/queues/{queue}/messages", {"body": {"n": 1}})
        pulled = server.v4("POST", f"/queues/{queue}/messages/pull", {})
        answers = {name: server.call(*call).status for name, call in OF_AN_APPLICATION.items()}

    assert (sent.status, len(pulled.result["messages"])) == (200, 1)
    gone = APPLICATIONS[number].name
    assert answers == {name: 404 if name == gone else 200 for name in OF_AN_APPLICATION}


def test_nothing_outside_the_table_imports_an_application() -> None:
    root = Path(__file__).parents[2] / "src" / "millrace"
    importing = subprocess.run(
        ["grep", "-rlE", "--include=*.py", r"from millrace\.apps|import millrace\.apps", str(root)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()

    outside = [str(Path(path).relative_to(root)) for path in importing if "/apps/" not in path]
    # the package gives the producer of jobs by its public name, and imports it when somebody asks for it
    assert sorted(outside) == ["__init__.py", "cli/applications.py"]
