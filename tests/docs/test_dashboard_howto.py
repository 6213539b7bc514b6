"""What the page about the dashboard tells people to do lets them in."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, blocks
from tests.http.browser import Browser, Page
from tests.support import KEY, Server

PAGE = DOCS / "howto" / "dashboard.md"


def test_the_key_that_the_command_shows_logs_in(server: Server) -> None:
    [command] = [block.text for block in blocks(PAGE, "bash")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "MILLRACE_URL": server.url, "MILLRACE_TOKEN": KEY}
    browser = Browser(server)

    shown = subprocess.run(["bash", "-eu", "-c", command], env=environ, capture_output=True, text=True, check=True)
    secret = next(word for word in (shown.stdout + shown.stderr).split() if word.startswith("sk_live_"))
    entered = browser.follow("/dashboard/login", browser.log_in(secret))

    assert "event-queue" in Page(entered).text
