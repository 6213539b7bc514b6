"""The Dockerfile's own steps, run in a scratch folder: what they install serves, is healthy, and stops at a signal."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.pages import ROOT
from tests.support import Server, with_packages

QUICKLY = {"UV_COMPILE_BYTECODE": "0", "UV_LINK_MODE": "hardlink"}  # half of the time, the same files
INSTRUCTION = re.compile(r"^([A-Z]+) (.*)$")


class Stage(NamedTuple):
    """What stands between two FROM lines: instructions with their text, in order."""

    steps: list[tuple[str, str]]

    def of(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]


def _stages() -> list[Stage]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    stages = []
    for line in text.splitlines():
        match = INSTRUCTION.match(line)
        if match and match[1] == "FROM":
            stages.append(Stage([]))
        elif match and stages:
            stages[-1].steps.append((match[1], match[2]))
    return stages


BUILD, FINAL = _stages()


class Container(Server):
    """The command of the image with the image's variables, its paths below a scratch folder, on loopback."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "data")
        self._root = root
        self.environ.update({"HOST": "127.0.0.1", "PORT": "0", "DATA_DIR": str(root / "data")})
        self.environ.pop("PYTHONPATH", None)

    def _command(self) -> list[str]:
        program, *arguments = [word for name in ("ENTRYPOINT", "CMD") for word in json.loads(FINAL.of(name)[0])]
        return [str(self._root / "opt" / program / "bin" / program), *arguments]

    def is_healthy(self) -> bool:
        """Run the image's HEALTHCHECK."""
        command = json.loads(FINAL.of("HEALTHCHECK")[0].partition(" CMD ")[2])
        environ = {"PORT": self.url.rpartition(":")[2]}
        done = subprocess.run([sys.executable, *command[1:]], env=environ, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the steps of the build stage were run."""
    root = tmp_path_factory.mktemp("image")
    environ = {**os.environ, "UV_PYTHON": sys.executable}
    for instruction, text in BUILD.steps:
        if instruction in ("ARG", "ENV"):
            pairs = re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', text)
            environ.update({name: (quoted or plain).replace("/opt", f"{root}/opt") for name, quoted, plain in pairs})
        elif instruction == "COPY":
            _copy(text.split(), root / "build")
        elif instruction == "RUN" and "pip install" not in text:  # uv is here already
            _run(text, root / "build", environ)
    return root


def _copy(words: list[str], folder: Path) -> None:
    *sources, target = words
    folder.mkdir(exist_ok=True)
    for source in map(ROOT.joinpath, sources):
        if source.is_dir():
            shutil.copytree(source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / target)


def _run(step: str, folder: Path, environ: dict[str, str]) -> None:
    path = f"{Path(with_packages()[0]).parent}:{environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", step], cwd=folder, env={**environ, **QUICKLY, "PATH": path}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def container(installed: Path) -> Iterator[Container]:
    with Container(installed) as container:
        yield container


def test_what_the_image_installs_serves_and_stops_at_a_signal(container: Container) -> None:
    assert container.is_healthy()
    assert container.call("GET", "/dashboard/login", key=None).status == 200  # pages and statements came along

    assert container.stop() == 0

    assert not container.is_healthy()


def test_the_image_has_the_optional_parts_and_no_link_to_the_sources(installed: Path) -> None:
    packages = {path.name for path in installed.glob("opt/millrace/lib/python*/site-packages/*")}

    assert {"millrace", "psycopg", "obstore"} <= packages
    assert "pytest" not in packages


def test_only_what_the_image_is_made_of_is_sent_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    copied = {word for text in BUILD.of("COPY") for word in text.split()[:-1]}

    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


def test_the_image_writes_nowhere_but_to_its_volume() -> None:
    variables = dict(pair.split("=", 1) for pair in " ".join(FINAL.of("ENV")).split())

    assert variables["DATA_DIR"] == FINAL.of("VOLUME")[0]
    assert variables["PORT"] == FINAL.of("EXPOSE")[0]
    assert FINAL.of("USER")[0].split(":")[0].isdigit()  # Kubernetes tells by the number that it is not root
