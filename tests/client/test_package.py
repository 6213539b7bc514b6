"""The package: its twin is up to date, and nobody waits for what is not used."""

import subprocess
import sys

from scripts import sync_client

from tests.support import ROOT


def test_the_client_without_await_is_generated_from_the_one_with_it(capsys):
    assert sync_client.main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_a_stale_twin_is_named_and_fails(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sync_client, "TWINS", {"bindings.py": "client/no_such_twin.py"})

    assert sync_client.main(["--check"]) == 1

    assert "client/no_such_twin.py is stale" in capsys.readouterr().out


def test_importing_a_client_loads_no_http_library():
    program = "import sys, millrace; millrace.Client('http://127.0.0.1:1'); print('httpx2' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_importing_the_package_loads_no_client():
    program = "import sys, millrace; print([name for name in sys.modules if name.startswith(('millrace.', 'asyncio'))])"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
