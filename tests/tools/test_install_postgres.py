"""Installing PostgreSQL's server where it is missing, on a machine of scripts that write down how they were called."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from scripts import install_postgres
from scripts.install_postgres import InstallFailed, find, install

APT_GET = """#!/bin/sh
echo "apt-get $*" >> {calls}
case "$*" in *" postgresql")
    for version in 9.6 17; do mkdir -p {debian}/$version/bin; cp "$0" {debian}/$version/bin/initdb; done;; esac
"""
SED = """#!/bin/sh
echo "sed $*" >> {calls}
"""
BROKEN = """#!/bin/sh
echo "E: Unable to locate package"
exit 100
"""
SUDO = """#!/bin/sh
shift
exec "$@"
"""


class Machine(NamedTuple):
    """A machine without PostgreSQL."""

    folder: Path

    def has(self, program: str, text: str) -> None:
        path = self.folder / "bin" / program
        path.write_text(text.format(calls=self.folder / "calls", debian=self.folder / "debian"))
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "bin").mkdir()
    for name in ("env", "sh", "mkdir", "cp"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(install_postgres, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(install_postgres, "SBIN", tmp_path / "sbin")
    return Machine(tmp_path)


def test_the_server_is_installed_without_a_cluster_of_its_own(machine: Machine) -> None:
    machine.has("apt-get", APT_GET)
    machine.has("sed", SED)
    machine.has("sudo", SUDO)

    installed = install("postgresql")

    assert installed == find() == machine.folder / "debian" / "17" / "bin" / "initdb"
    assert [call.split()[-1] for call in machine.calls] == [
        "-q",
        "postgresql-common",
        install_postgres.DEFAULTS,
        "postgresql",
    ]
    assert "create_main_cluster = false" in machine.calls[2]


def test_without_apt_get_the_sentence_names_what_to_install(machine: Machine) -> None:
    with pytest.raises(
        InstallFailed, match="initdb is missing, and there is no apt-get: install postgresql and put it on PATH"
    ):
        install("postgresql")


def test_without_the_right_to_install_the_sentence_names_the_command(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has("apt-get", APT_GET)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(InstallFailed, match="run `sudo apt-get install pgbouncer`"):
        install("pgbouncer")


def test_what_apt_get_says_when_it_fails_is_in_the_error(machine: Machine) -> None:
    machine.has("apt-get", BROKEN)
    machine.has("sudo", SUDO)

    with pytest.raises(InstallFailed, match=r"(?s)`apt-get update -q` ended with 100:.*Unable to locate package"):
        install("postgresql")
