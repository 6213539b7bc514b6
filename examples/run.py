"""Serve the example program, as `make run` does: the key is made once and kept beside the data, for this machine only."""

import os
import secrets
import sys
from pathlib import Path


def main() -> None:
    """Replace this process by the server."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "admin-key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(f"sk_live_{secrets.token_urlsafe(32)}")
    here = Path(__file__).parent
    command = ["millrace", "serve", "--data", str(folder), "--config", str(here / "wrangler.toml")]
    command += ["--app", f"{here / 'hello.py'}:app", "--show-key", *sys.argv[2:]]
    os.environ.setdefault("ADMIN_TOKEN", key.read_text())
    os.execv(sys.executable, [sys.executable, "-m", "millrace.cli.main", *command[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
