"""Run the agent beside the example server, as `make agent` does: with the secret that `make run` keeps beside the data."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Replace this process by the agent. A file .env says everything itself."""
    secret = Path(sys.argv[1]) / "jwt-secret"
    if not Path(".env").exists():
        if not secret.exists() and "EDGE_API_TOKEN" not in os.environ:
            sys.exit("start the server first: make run")
        os.environ.setdefault("EDGE_BASE_URL", "http://127.0.0.1:8787")
        os.environ.setdefault("EDGE_API_TOKEN", secret.read_text() if secret.exists() else "")
    os.execv(sys.executable, [sys.executable, "-m", "millrace.cli.main", "agent", *sys.argv[2:]])  # noqa: S606


if __name__ == "__main__":
    main()
