"""Serve the example program, as `make run` does: its secrets are made once and kept beside the data, for this machine."""

import os
import secrets
import sys
from pathlib import Path


def main() -> None:
    """Replace this process by the server."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    command = ["millrace", "serve", "--data", str(folder), "--config", str(here / "wrangler.toml")]
    command += ["--app", f"{here / 'hello.py'}:app", "--show-key", *sys.argv[2:]]
    os.environ.setdefault("ADMIN_TOKEN", _kept(folder / "admin-key", "sk_live_"))
    os.environ.setdefault("JWT_SECRET", _kept(folder / "jwt-secret"))
    os.execv(sys.executable, [sys.executable, "-m", "millrace.cli.main", *command[1:]])  # noqa: S606


def _kept(file: Path, prefix: str = "") -> str:
    """Give the secret of a file, which is made at the first start."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(f"{prefix}{secrets.token_urlsafe(32)}")
    return file.read_text()


if __name__ == "__main__":
    main()
