"""`millrace dev`: everybody on this machine is let in, and a change of a file starts the server anew."""

import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tests.cli.commands import run
from tests.starting import COMMAND

ADDRESS = re.compile(r'"address":"(http://[^"]+)"')
FILE = """\
name = "shop"
[[queues.producers]]
binding = "Q"
queue = "everywhere"
[[env.local.queues.producers]]
binding = "Q"
queue = "here"
"""
SECONDS = 20


class Dev:
    """`millrace dev` in a folder, with what it has written so far."""

    def __init__(self, folder: Path) -> None:
        kept = {
            name: value for name, value in os.environ.items() if name not in ("CLOUDFLARE_ENV", "AUTH_MODE", "HOST")
        }
        self.process = subprocess.Popen(
            [*COMMAND, "dev", "--port", "0"], cwd=folder, env=kept, stdout=subprocess.PIPE, text=True
        )
        self.urls: list[str] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := ADDRESS.search(line):
                with self._changed:
                    self.urls.append(found[1])
                    self._changed.notify_all()

    def url(self, start: int) -> str:
        """Give the address of its first, second, … start."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.urls) >= start, SECONDS)
        return self.urls[start - 1]


def test_a_folder_is_served_without_a_key_by_its_local_section_and_again_after_a_change(tmp_path: Path) -> None:
    (tmp_path / "wrangler.toml").write_text(FILE)
    dev = Dev(tmp_path)
    try:
        first = dev.url(1)
        with urllib.request.urlopen(f"{first}/client/v4/accounts/local/queues?name=here", timeout=10) as answer:
            assert '"here"' in answer.read().decode()

        (tmp_path / "wrangler.toml").write_text(f"{FILE}# changed\n")
        os.utime(tmp_path / "wrangler.toml", (time.time() + 10,) * 2)

        assert dev.url(2)
    finally:
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(SECONDS) == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "queue"),
    [
        ((), {}, "here"),
        (("--env", ""), {}, "everywhere"),
        ((), {"CLOUDFLARE_ENV": "staging"}, "everywhere"),
        (("--host", "0.0.0.0"), {}, "here"),  # not for everybody on the network: AUTH_MODE is left alone
    ],
)
def test_flags_and_environment_go_before_what_is_usual_there(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], queue: str
) -> None:
    (tmp_path / "wrangler.toml").write_text(FILE)
    paths = ("--config", tmp_path / "wrangler.toml", "--data", tmp_path / "data")

    done = run("dev", "--dry-run", *paths, *arguments, environ=environ)

    assert done.out.startswith(f"+ queue {queue}\n"), done


def test_a_file_without_a_local_section_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "wrangler.toml").write_text(FILE.partition("[[env")[0])

    done = run("dev", "--dry-run", "--config", tmp_path / "wrangler.toml", "--data", tmp_path / "data")

    assert done.out.startswith("+ queue everywhere\n"), done
