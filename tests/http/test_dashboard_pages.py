"""Pages of applications in the dashboard: in the frame of all, for the keys that they are for."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from tests.http.browser import OWN, Browser, Page
from tests.http.wire import a_name
from tests.support import Reply, Server

PROGRAM = f"{Path(__file__).parent}/paged_program.py:app"
ALL = ["Queues", "Dead letters", "Events", "Messages", "Letters & parcels", "Stamps", "Audit"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("pages") / "data", "--app", PROGRAM, "--config", "") as running:
        yield running


def logged_in(server: Server, role: str, **more: object) -> Browser:
    """Make a key, and a browser that has logged in with it."""
    secret = server.call("POST", "/api/keys", {"role": role, **more}).json["secret"]
    browser = Browser(server)
    assert browser.log_in(secret).status == 303
    return browser


def menu(reply: Reply) -> list[str]:
    """Give the lines of the menu."""
    html = reply.body.decode()
    lines = html[html.index("<nav>") : html.index("</nav>")]
    return [unescape(line) for line in re.findall(r"<a [^>]*>([^<]*)</a>", lines)]


def test_a_page_stands_in_the_frame_with_the_others(server: Server) -> None:
    browser = logged_in(server, "operator")

    reply = browser.get("/dashboard/letters")

    page = Page(reply)
    assert menu(reply) == ALL
    assert "first waiting" in page.text
    assert [attributes["href"] for _, attributes in page.tags if "aria-current" in attributes] == [
        "../dashboard/letters"
    ]
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_a_template_of_a_page_hides_none_of_the_frames(server: Server) -> None:
    browser = logged_in(server, "operator")

    assert "This is no frame." not in Page(browser.get("/dashboard/letters")).text
    assert menu(browser.get("/dashboard/audit")) == ALL


def test_a_role_that_has_a_page_logs_in_and_lands_on_the_first_of_its_own(server: Server) -> None:
    browser = logged_in(server, "producer")

    landed = browser.get("/dashboard")

    assert menu(landed) == ["Letters & parcels"]
    assert "first" in Page(landed).text


@pytest.mark.parametrize("path", ["/queues", "/queues/event-queue", "/dead-letters", "/events", "/audit", "/stamps"])
def test_a_page_is_refused_to_keys_that_it_is_not_for(server: Server, path: str) -> None:
    reply = logged_in(server, "producer").get(f"/dashboard{path}")

    assert reply.status == 403
    assert menu(reply) == ["Letters & parcels"]
    assert "a key with role 'producer' does not allow" in Page(reply).text


def test_an_act_is_refused_to_keys_that_its_page_is_not_for(server: Server) -> None:
    name = a_name("kept")
    queue = server.create_queue(name)
    browser = logged_in(server, "producer")

    reply = browser.submit("/dashboard", f"/dashboard/queues/{name}/pause")

    assert reply.status == 403
    assert not server.v4("GET", f"/queues/{queue}").result["settings"]["delivery_paused"]


def test_a_page_about_a_queue_is_for_keys_that_reach_it(server: Server) -> None:
    reaches = logged_in(server, "consumer", queues=["stamps"])
    secret = server.call("POST", "/api/keys", {"role": "consumer", "queues": ["others"]}).json["secret"]

    refused = Browser(server).log_in(secret)

    assert menu(reaches.get("/dashboard")) == ["Stamps"]
    assert refused.status == 403
    assert "no page of the dashboard is within what your key is limited to" in Page(refused).text


def test_a_limited_operator_is_shown_no_page_beyond_its_queues(server: Server) -> None:
    browser = logged_in(server, "operator", queues=["orders"])

    assert menu(browser.get("/dashboard")) == ["Queues", "Dead letters", "Letters & parcels"]
    assert [browser.get(f"/dashboard/{name}").status for name in ("events", "stamps", "audit")] == [403, 403, 403]


def test_a_key_of_a_tenant_sees_no_page(server: Server) -> None:
    secret = server.call("POST", "/api/keys", {"role": "producer", "tenant": "acme"}).json["secret"]

    assert Browser(server).log_in(secret).status == 403
    assert server.call("GET", "/dashboard/letters", key=secret).status == 403


def test_the_log_in_names_the_roles_that_have_a_page(server: Server) -> None:
    asked = Page(Browser(server).get("/dashboard/login")).text

    assert "Key of the role admin, operator, producer, consumer" in asked


def test_an_act_of_an_application_says_what_it_did(server: Server) -> None:
    browser = logged_in(server, "producer")
    act = "/dashboard/letters/first/stamp"

    reply = browser.submit("/dashboard/letters/first", act, state="stamped")

    page = Page(browser.follow(act, reply))
    assert "Stamped for 1 200 pence." in page.text
    assert "State stamped" in page.text


@pytest.mark.parametrize("headers", [OWN, {"Sec-Fetch-Site": "cross-site"}])
def test_an_act_of_an_application_needs_its_sessions_own_form(server: Server, headers: dict[str, str]) -> None:
    browser = logged_in(server, "producer")

    reply = browser.post("/dashboard/letters/first/stamp", headers, state="forged")

    assert reply.status == 403
    assert "forged" not in Page(browser.get("/dashboard/letters/first")).text


def test_what_a_page_refuses_is_told_in_the_frame(server: Server) -> None:
    reply = logged_in(server, "producer").get("/dashboard/letters/second")

    assert reply.status == 404
    assert "letter 'second' does not exist" in Page(reply).text
