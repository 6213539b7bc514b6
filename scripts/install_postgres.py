"""Find the server of PostgreSQL, or install it: `python -m scripts.install_postgres [pgbouncer]`.

It prints where the program is. On Debian a missing one comes by apt-get, as root or through `sudo -n`; no cluster is made
and nothing is left running, since tests and figures start clusters of their own.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = {"postgresql": "initdb", "pgbouncer": "pgbouncer"}  # what a package brings, by which it is known
DEBIAN = Path("/usr/lib/postgresql")
SBIN = Path("/usr/sbin")  # where Debian has pgbouncer, and not on everybody's PATH
DEFAULTS = "/etc/postgresql-common/createcluster.conf"
NO_CLUSTER = "$a create_main_cluster = false"
SYSTEMD = Path("/run/systemd/system")


class InstallFailed(Exception):
    """A program is missing and could not be installed; the sentence says what to do."""


def find(program: str = "initdb") -> Path | None:
    """Give the path of a program of PostgreSQL, the newest version's where there are several; None without one."""
    return next((folder / program for folder in _folders() if os.access(folder / program, os.X_OK)), None)


def _folders() -> Iterator[Path]:
    config = shutil.which("pg_config")
    if config:  # it comes with the headers alone, too, and then names a folder without a server
        yield Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
    yield from sorted(DEBIAN.glob("*/bin"), key=_version, reverse=True)
    yield from (Path(folder) for folder in os.get_exec_path())
    yield SBIN


def _version(folder: Path) -> float:
    return float(folder.parent.name) if re.fullmatch(r"\d+(\.\d+)?", folder.parent.name) else 0


def install(package: str) -> Path:
    """Install a package of `PROGRAMS` with apt-get and give the path of its program.

    Raises:
        InstallFailed: There is no apt-get here, no right to use it, or it failed.
    """
    rights = _rights(package)
    if package == "postgresql":
        _run(rights, "apt-get", "update", "-q")
        _apt(rights, "postgresql-common")
        _run(rights, "sed", "-i", NO_CLUSTER, DEFAULTS)
    _apt(rights, package)
    if package == "pgbouncer" and SYSTEMD.exists():  # Debian starts it at once
        _run(rights, "systemctl", "disable", "--now", "pgbouncer")
    program = find(PROGRAMS[package])
    if program is None:
        raise InstallFailed(
            f"apt-get installed {package}, but {PROGRAMS[package]} is in no known place; put it on PATH"
        )
    return program


def _rights(package: str) -> list[str]:
    program = PROGRAMS[package]
    if shutil.which("apt-get") is None:
        raise InstallFailed(f"{program} is missing, and there is no apt-get: install {package} and put it on PATH")
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    raise InstallFailed(f"{program} is missing, and only root may install it: run `sudo apt-get install {package}`")


def _apt(rights: list[str], package: str) -> None:
    """Install a package; a file of settings that somebody changed stays as it is."""
    keep = ("-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=120")
    _run(rights, "apt-get", "install", "-q", "--yes", "--no-install-recommends", *keep, package)


def _run(rights: list[str], *command: str) -> None:
    order = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", *command]
    done = subprocess.run(order, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise InstallFailed(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-2000:]}")


def main(package: str = "postgresql") -> None:
    """Print the path of the package's program, installing it first if need be."""
    if package not in PROGRAMS:
        sys.exit(f"{package} is not known here; expected one of {', '.join(PROGRAMS)}")
    try:
        print(find(PROGRAMS[package]) or install(package))
    except InstallFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
