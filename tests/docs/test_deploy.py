"""What deploy/ names is there: flags, variables, ports, paths, metrics, and the image that the Dockerfile makes."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace import __version__, limits
from millrace.cli.arguments import make_parser
from millrace.cli.listening import DRAIN_SECONDS
from millrace.config import Settings, read_settings
from millrace.http import health
from tests.docs.pages import DOCS, ROOT, blocks
from tests.docs.test_settings import Asked
from tests.support import Server

DEPLOY = ROOT / "deploy"
IMAGE_USER, IMAGE_PATHS = 10001, {"/data", "/tmp"}
MANIFESTS = {path.name: list(yaml.safe_load_all(path.read_text())) for path in (DEPLOY / "kubernetes").glob("*.yaml")}
PODS = [
    pytest.param(each["spec"]["template"]["spec"], id=f"{name}: {each['metadata']['name']}")
    for name, manifest in MANIFESTS.items()
    for each in manifest
    if each["kind"] in ("Deployment", "StatefulSet")
]
UNITS = sorted((DEPLOY / "systemd").iterdir())


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def _every(value: Any, key: str) -> Iterator[Any]:
    """Give what stands below this key, wherever it does."""
    if isinstance(value, dict):
        yield from ([value[key]] if key in value else [])
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from _every(child, key)


def _variables() -> set[str]:
    environ = Asked()
    read_settings(environ, {})
    return environ.names


@pytest.mark.parametrize("pod", PODS)
def test_a_pods_commands_and_variables_are_the_programs_own(pod: dict[str, Any]) -> None:
    for container in _containers(pod):
        make_parser("millrace").parse_args(container["args"])

        assert {variable["name"] for variable in container["env"]} <= _variables()


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_runs_this_version_as_the_user_of_the_image(pod: dict[str, Any]) -> None:
    images = {container["image"] for container in _containers(pod)}
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert images == {f"millrace:{__version__}"}
    assert f"USER {IMAGE_USER}:{IMAGE_USER}" in dockerfile
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == IMAGE_USER
    assert all({mount["mountPath"] for mount in each["volumeMounts"]} == IMAGE_PATHS for each in _containers(pod))


@pytest.mark.parametrize("pod", PODS)
def test_probes_ask_open_routes_on_the_port_of_the_server(pod: dict[str, Any]) -> None:
    paths = {probe["path"] for probe in _every(pod, "httpGet")}
    open_paths = {route.path for route in health.routes()}

    assert {"/livez", "/readyz"} == paths <= open_paths
    assert {port["containerPort"] for container in pod["containers"] for port in container["ports"]} == {
        Settings().port
    }
    assert {probe["port"] for probe in _every(pod, "httpGet")} == {"http"}


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_gets_the_time_that_a_stop_may_take(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]
    runs_handlers = "api" not in container["args"]

    assert pod["terminationGracePeriodSeconds"] > (limits.HANDLER_SECONDS if runs_handlers else DRAIN_SECONDS)


@pytest.mark.parametrize("name", MANIFESTS)
def test_names_in_a_manifest_lead_to_each_other(name: str) -> None:
    workloads = [each for each in MANIFESTS[name] if each["kind"] in ("Deployment", "StatefulSet")]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in workloads]
    selectors = [each["spec"]["selector"] for each in MANIFESTS[name] if "selector" in each["spec"]]

    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= has.items() for has in labels), wanted


def test_alerts_go_by_metrics_that_there_are() -> None:
    text = (DOCS / "operating.md").read_text()
    rows = {row[1] for row in re.finditer(r"^\| `(millrace_\w+)` \|", text, re.MULTILINE)}
    asked = {
        name for block in blocks(DOCS / "operating.md", "yaml") for name in re.findall(r"millrace_\w+", block.text)
    }

    assert {name.removesuffix("_bucket") for name in asked} <= rows
    assert all(yaml.safe_load(block.text) for block in blocks(DOCS / "operating.md", "yaml"))


def test_keda_scales_a_deployment_by_a_metric_that_its_key_may_read(server: Server) -> None:
    [scaled] = [each for each in MANIFESTS["keda.yaml"] if each["kind"] == "ScaledObject"]
    [trigger] = scaled["spec"]["triggers"]
    queue = re.search(r'queue="(\w+)"', trigger["metadata"]["valueLocation"])[1]
    server.create_queue(queue)
    secret = server.call("POST", "/api/keys", {"role": "consumer", "queues": [queue]}).json["secret"]

    shown = server.call("GET", trigger["metadata"]["url"].split(":8787")[1], key=secret).body.decode()

    assert f"{trigger['metadata']['valueLocation']} 0.0" in shown.splitlines()
    assert scaled["spec"]["scaleTargetRef"]["name"] in {each["metadata"]["name"] for each in MANIFESTS["postgres.yaml"]}
    assert trigger["metadata"]["url"].split("/")[2] == f"millrace:{Settings().port}"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_exists_and_leaves_it_time_to_stop(unit: Path) -> None:
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")
    program, *arguments = shlex.split(lines["ExecStart"])

    make_parser("millrace").parse_args(arguments)

    assert program == "/opt/millrace/bin/millrace"
    assert int(lines["TimeoutStopSec"].removesuffix("min")) * 60 > limits.HANDLER_SECONDS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze comes with systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_has_nothing_against_a_unit(unit: Path, tmp_path: Path) -> None:
    installed = tmp_path / unit.name.replace("@.", "@orders.")
    installed.write_text(unit.read_text().replace("/opt/millrace/bin/millrace", "/bin/true"))

    done = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
