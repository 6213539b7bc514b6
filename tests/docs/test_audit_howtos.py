"""The first commands of the pages on the audit trail and on secrets work when they are pasted."""

from pathlib import Path

from tests.docs.test_howtos import _block, _paste
from tests.http.wire import a_name
from tests.support import Server


def test_the_trail_is_listed_and_verified(server: Server, tmp_path: Path) -> None:
    name = a_name("noted")
    server.create_queue(name)

    printed = _paste(server, _block("audit.md", "bash", "--limit=5"), tmp_path)

    assert f"queue {name}" in printed
    assert "\nwhole: " in printed


def test_the_trail_is_searched(server: Server, tmp_path: Path) -> None:
    server.create_queue("vault-work")
    script = _block("audit.md", "bash", "--context=work").replace("--data=data", f"--data={server.data}")

    printed = _paste(server, script, tmp_path)

    assert "queue vault-work" in printed


def test_a_secret_is_put_listed_and_deleted(server: Server, tmp_path: Path) -> None:
    printed = _paste(server, "VALUE=hunter2\n" + _block("secrets.md", "bash", "secret put"), tmp_path)

    assert "API_KEY  20" in printed
    assert "deleted secret API_KEY" in printed
    assert "hunter2" not in printed
