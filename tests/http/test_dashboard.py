"""The dashboard over HTTP: who gets in, what the pages show, what their forms do, and what is refused."""

import re
import resource
import uuid

import pytest

from millrace.access.scopes import Role
from tests.http.browser import OWN, Browser, Page, row_of, token_in
from tests.http.wire import PULL, a_name, backlog, make_key, peek, pull, push, push_text, settle
from tests.support import KEY, Reply, Server

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}"


@pytest.fixture
def browser(server: Server) -> Browser:
    """A browser that has logged in with the key of the tests."""
    browser = Browser(server)
    assert browser.log_in().status == 303
    return browser


def made(server: Server, **more: object) -> tuple[str, str]:
    """Make a queue; give its name and its id."""
    name = a_name("board")
    return name, server.create_queue(name, **more)


def buried(server: Server, *texts: str) -> tuple[str, str, str]:
    """Make a queue whose messages were all buried; give its name, and name and id of its dead-letter queue."""
    dead = a_name("board-dead")
    consumer = {**PULL, "dead_letter_queue": dead, "settings": {"max_retries": 0}}
    name, queue = made(server, consumer=consumer)
    push_text(server, queue, *texts)
    settle(server, queue, retries=[message["lease_id"] for message in pull(server, queue)])
    [found] = server.v4("GET", f"/queues?name={dead}").result
    return name, dead, found["queue_id"]


def new_key(server: Server, role: str, **more: object) -> tuple[str, str]:
    reply = server.call("POST", "/api/keys", {"role": role, **more})
    return reply.json["id"], reply.json["secret"]


# who gets in


@pytest.mark.parametrize("path", ["", "/", "/queues/orders", "/dead-letters", "/events", "/audit"])
def test_a_page_without_a_session_leads_to_the_log_in(server: Server, path: str) -> None:
    browser = Browser(server)

    reply = browser.get(f"/dashboard{path}")

    assert (reply.status, reply.body) == (303, b"")
    assert "Log in" in Page(browser.follow(f"/dashboard{path}", reply)).text


def test_a_live_part_without_a_session_loads_its_page_anew(server: Server) -> None:
    reply = Browser(server).get("/dashboard", {**OWN, "HX-Request": "true"})

    assert (reply.status, reply.headers["hx-refresh"]) == (401, "true")


def test_an_act_without_a_session_does_nothing(server: Server) -> None:
    name, queue = made(server)

    reply = Browser(server).post(f"/dashboard/queues/{name}", body="{}")

    assert reply.status == 303
    assert backlog(server, queue)["backlog_count"] == 0


def test_logging_in_gives_a_cookie_that_scripts_and_other_sites_do_not_get(server: Server) -> None:
    reply = Browser(server).log_in()

    assert reply.status == 303
    assert re.fullmatch(
        r"millrace-session=[\w-]{43}; Max-Age=43200; HttpOnly; SameSite=Strict", reply.headers["set-cookie"]
    )


@pytest.mark.parametrize("header", [{"X-Forwarded-Proto": "https"}, {"Origin": "https://queues.example"}])
def test_over_https_the_cookie_is_secure(server: Server, header: dict[str, str]) -> None:
    reply = Browser(server).post("/dashboard/login", {**OWN, **header}, key=KEY)

    assert reply.headers["set-cookie"].endswith("; Secure")


def test_a_key_that_is_none_is_refused_on_the_page(server: Server) -> None:
    reply = Browser(server).log_in("sk_live_nobody's")

    assert reply.status == 401
    assert "No key has this secret." in Page(reply).text
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize(("role", "status"), [("admin", 303), ("operator", 303), ("producer", 403), ("agent", 403)])
def test_admins_and_operators_may_log_in(server: Server, role: str, status: int) -> None:
    _, secret = new_key(server, role)

    assert Browser(server).log_in(secret).status == status


def test_a_log_in_from_a_page_of_another_site_is_refused(server: Server) -> None:
    reply = Browser(server).post("/dashboard/login", {"Sec-Fetch-Site": "cross-site"}, key=KEY)

    assert reply.status == 403
    assert "set-cookie" not in reply.headers


def test_failed_log_ins_have_to_wait_after_some(stopped: Server) -> None:
    browser = Browser(stopped.start())
    failed = [browser.log_in(f"sk_live_guess-{number}").status for number in range(4)]

    reply = browser.log_in()

    assert failed == [401] * 4
    assert reply.status == 429
    assert "Try again in 1 s." in Page(reply).text


def test_a_revoked_key_loses_its_session(server: Server) -> None:
    key_id, secret = new_key(server, "operator")
    browser = Browser(server)
    browser.log_in(secret)
    assert browser.get("/dashboard").status == 200

    server.call("DELETE", f"/api/keys/{key_id}")

    assert browser.get("/dashboard").status == 303


def test_logging_out_ends_the_session(browser: Browser) -> None:
    cookie = browser.cookie

    reply = browser.submit("/dashboard", "/dashboard/logout")
    browser.cookie = cookie

    assert reply.headers["set-cookie"].startswith("millrace-session=; Max-Age=0;")
    assert browser.get("/dashboard").status == 303


def test_a_log_in_and_a_log_out_are_in_the_trail_under_the_key(server: Server) -> None:
    key_id, secret = new_key(server, "operator")
    browser, request_id = Browser(server), str(uuid.uuid4())

    browser.post("/dashboard/login", {**OWN, "X-Correlation-ID": request_id}, key=secret)
    browser.submit("/dashboard", "/dashboard/logout")

    out, came = server.call("GET", f"/api/audit?object=key%20{key_id}").json["entries"][:2]
    assert (out["act"], out["actor"]) == ("dashboard.logged_out", key_id)
    assert (came["act"], came["actor"], came["details"]) == ("dashboard.logged_in", key_id, {"role": "operator"})
    assert came["correlation_id"] == request_id
    assert secret not in str(came)


def test_a_log_in_that_fails_leaves_no_entry(server: Server) -> None:
    key_id, secret = new_key(server, "agent")

    refused = Browser(server).log_in(secret)

    assert refused.status == 403
    assert [entry["act"] for entry in server.call("GET", f"/api/audit?object=key%20{key_id}").json["entries"]] == [
        "key.created"
    ]


def test_who_cannot_be_noted_is_not_let_in(stopped: Server) -> None:
    browser = Browser(stopped.start())

    resource.prlimit(stopped.process.pid, resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
    refused = browser.log_in()
    resource.prlimit(stopped.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert refused.status == 503
    assert "set-cookie" not in refused.headers
    assert browser.log_in().status == 303


def test_a_session_is_good_for_nothing_but_the_dashboard(browser: Browser) -> None:
    assert browser.get("/openapi.json").status == 401
    assert browser.get("/client/v4/accounts/local/queues").status == 401


def test_a_key_in_the_header_sees_pages_and_acts_without_a_session(server: Server) -> None:
    name, queue = made(server)
    path = f"/dashboard/queues/{name}"

    assert server.call("GET", path).status == 200
    assert server.call("POST", path, b"body=7").status == 200  # after the redirect
    assert server.call("GET", path, key=new_key(server, "producer")[1]).status == 403
    assert backlog(server, queue)["backlog_count"] == 1


def test_in_local_mode_a_person_at_this_machine_needs_no_key(stopped: Server) -> None:
    stopped.environ |= {"AUTH_MODE": "local", "CLOUDFLARE_ENV": "local"}
    browser = Browser(stopped.start())

    entered = browser.follow("/dashboard", browser.get("/dashboard"))

    assert entered.status == 303
    assert browser.follow("/dashboard/login", entered).status == 200
    assert Browser(stopped).get("/dashboard/login", {"Sec-Fetch-Site": "cross-site"}).status == 200  # asks for a key


# what is refused


def test_a_form_without_the_token_of_its_session_is_refused(server: Server, browser: Browser) -> None:
    name, queue = made(server)
    other = Browser(server)
    other.log_in()

    without = browser.post(f"/dashboard/queues/{name}", body="{}")
    with_anothers = browser.post(f"/dashboard/queues/{name}", body="{}", token=token_in(other.get("/dashboard")))

    assert (without.status, with_anothers.status) == (403, 403)
    assert backlog(server, queue)["backlog_count"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_of_another_sites_page_is_refused(server: Server, browser: Browser, headers: dict[str, str]) -> None:
    name, queue = made(server)
    token = token_in(browser.get("/dashboard"))

    reply = browser.post(f"/dashboard/queues/{name}", headers, body="{}", token=token)

    assert reply.status == 403
    assert backlog(server, queue)["backlog_count"] == 0


def test_a_browser_that_tells_the_origin_only_is_believed(server: Server, browser: Browser) -> None:
    name, _ = made(server)
    token = token_in(browser.get("/dashboard"))

    reply = browser.post(f"/dashboard/queues/{name}", {"Origin": server.url}, body="{}", token=token)

    assert reply.status == 303


def test_a_key_that_is_limited_sees_and_changes_its_own_queues_only(server: Server) -> None:
    mine, _ = made(server)
    other, queue = made(server)
    _, secret = new_key(server, "operator", queues=[mine])
    browser = Browser(server)
    browser.log_in(secret)

    page = browser.get("/dashboard")
    act = browser.submit("/dashboard", f"/dashboard/queues/{other}", body="{}")

    assert mine in Page(page).text
    assert other not in Page(page).text
    assert (act.status, browser.get(f"/dashboard/queues/{other}").status) == (403, 403)
    assert browser.submit("/dashboard", f"/dashboard/queues/{mine}/redrive").status == 403
    assert backlog(server, queue)["backlog_count"] == 0


def test_a_limited_key_is_told_nothing_of_the_queues_its_own_are_tied_to(server: Server) -> None:
    name, dead, _ = buried(server, "one")
    _, of_source = new_key(server, "operator", queues=[name])
    _, of_dead = new_key(server, "operator", queues=[dead])
    source, dead_letters = Browser(server), Browser(server)
    source.log_in(of_source)
    dead_letters.log_in(of_dead)

    assert row_of(source.get("/dashboard"), f"q-{name}") == f"{name} pull 0 {dead}"
    assert name not in Page(dead_letters.get(f"/dashboard/queues/{dead}")).text


def test_queues_of_another_account_are_not_there(stopped: Server) -> None:
    secret = make_key(stopped.data, "north", Role.OPERATOR)
    name, _ = made(stopped.start())
    browser = Browser(stopped)
    browser.log_in(secret)

    assert name not in Page(browser.get("/dashboard")).text
    assert browser.get(f"/dashboard/queues/{name}").status == 404


@pytest.mark.parametrize("body", [b"\xff=%ff", b"body=%ff", b"&".join(b"a=1" for _ in range(50))])
def test_a_form_that_cannot_be_read_is_refused(server: Server, body: bytes) -> None:
    name, queue = made(server)

    reply = server.call("POST", f"/dashboard/queues/{name}", body)

    assert reply.status == 400
    assert backlog(server, queue)["backlog_count"] == 0


# what the pages show


def assert_safe(reply: Reply) -> Page:
    """Hold a page to what it may not do: run scripts of its own, load or frame from elsewhere, be kept."""
    page = Page(reply)
    policy = reply.headers["content-security-policy"]
    assert ("default-src 'none'" in policy, "unsafe" in policy, "frame-ancestors 'none'" in policy) == (
        True,
        False,
        True,
    )
    assert reply.headers["cache-control"] == "no-store"
    addresses = [value for tag, name in (("script", "src"), ("link", "href"), ("a", "href"), ("form", "action"))
                 for value in page.values(tag, name)]  # fmt: skip
    assert [address for address in addresses if address.startswith(("/", "http:", "https:", "javascript:"))] == []
    assert len(page.values("script", "src")) == len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert [
        name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"
    ] == []
    return page


@pytest.mark.parametrize("content_type", ["text", "json"])
def test_hostile_bodies_are_text_on_every_page(server: Server, browser: Browser, content_type: str) -> None:
    name, dead, dead_id = buried(server, "any")
    source = server.v4("GET", f"/queues?name={name}").result[0]["queue_id"]
    push(server, source, HOSTILE, content_type=content_type, ordering_key="<b>\"'")
    push(server, dead_id, HOSTILE, content_type=content_type)
    push(server, server.v4("GET", "/queues?name=event-queue").result[0]["queue_id"], HOSTILE, content_type=content_type)

    for path in (f"/queues/{name}", f"/queues/{dead}", "/dead-letters", "/events"):
        page = assert_safe(browser.get(f"/dashboard{path}"))

        assert "<script>alert(1)</script>" in page.text, path
        assert "{{7*7}}" in page.text


def test_all_pages_are_well_formed_and_safe(server: Server, browser: Browser) -> None:
    buried(server, "one", "two")
    server.call("POST", "/events", {"payload": {"a": 1}})

    for path in ("", "/dead-letters", "/events", "/audit", "/audit?check=1", "/queues/missing", "/queues/event-queue"):
        assert_safe(browser.get(f"/dashboard{path}"))
    assert_safe(Browser(server).get("/dashboard/login"))


def test_what_pages_load_is_there_and_comes_from_this_server(server: Server, browser: Browser) -> None:
    page = Page(browser.get("/dashboard"))

    for address in page.values("script", "src") + page.values("link", "href") + page.values("img", "src"):
        reply = Browser(server).get(f"/{address}")

        assert reply.status == 200
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert server.call("GET", "/dashboard/static/style.css.map").status == 404


def test_the_table_shows_depths_and_marks_dead_letter_queues(server: Server, browser: Browser) -> None:
    name, dead, _ = buried(server, "one", "two", "three")
    source = server.v4("GET", f"/queues?name={name}").result[0]["queue_id"]
    push(server, source)

    page = browser.get("/dashboard")

    assert re.fullmatch(rf"{name} pull 1 7 B \d+ s 3 in {dead}", row_of(page, f"q-{name}"))
    assert re.fullmatch(rf"{dead} dead letters . 3 11 B \d+ s .", row_of(page, f"q-{dead}"))
    [live] = [attributes for _, attributes in Page(page).tags if attributes.get("id") == "live"]
    assert live["hx-trigger"] == "every 2s"


def test_a_queues_page_goes_on_after_its_first_messages(server: Server, browser: Browser) -> None:
    name, queue = made(server)
    push_text(server, queue, *(f"text-{number:02}" for number in range(30)))
    path = f"/dashboard/queues/{name}"

    first = Page(browser.get(path))
    [more] = [address for address in first.values("a", "href") if address.startswith("?after=")]
    second = Page(browser.get(path + more))

    assert ("text-24" in first.text, "text-25" in first.text) == (True, False)
    assert ("text-24" in second.text, "text-29" in second.text) == (False, True)
    assert browser.get(f"{path}?after=nowhere").status == 400


def test_a_long_body_is_cut_and_bytes_are_shown_as_digits(server: Server, browser: Browser) -> None:
    name, queue = made(server)
    push_text(server, queue, "a" * 5_000)
    push(server, queue, "AP8=", content_type="bytes")

    page = Page(browser.get(f"/dashboard/queues/{name}"))

    assert ("a" * 600 + " …" in page.text, "a" * 601 in page.text) == (True, False)
    assert "00 ff" in page.text


def test_the_settings_show_no_secret_of_a_push_consumer(server: Server, browser: Browser) -> None:
    url = "https://hooks.example.com/take?token=hidden"
    name, queue = made(server)
    secret = server.v4("POST", f"/queues/{queue}/consumers", {"type": "http_push", "url": url}).result["secret"]

    page = Page(browser.get(f"/dashboard/queues/{name}"))

    assert "https://hooks.example.com/take" in page.text
    assert ("hidden" in page.text, secret in page.text) == (False, False)


def test_the_events_page_shows_those_that_wait_and_who_subscribed(server: Server, browser: Browser) -> None:
    server.call("POST", "/events", {"payload": {"shop": "north"}, "metadata": {"source": "web"}})
    body = {"url": "https://hooks.example.com/events?key=hidden"}
    assert server.call("POST", "/events/subscriptions", body).status == 201

    page = Page(browser.get("/dashboard/events"))

    assert '{"shop":"north"}' in page.text.replace(" ", "")
    assert "https://hooks.example.com/events" in page.text
    assert "hidden" not in page.text


def test_the_audit_page_shows_what_was_done_and_whether_the_trail_is_whole(server: Server, browser: Browser) -> None:
    name, _ = made(server)

    page = Page(browser.get("/dashboard/audit?check=1"))

    assert f"queue.created queue {name}" in page.text
    assert "The trail is whole" in page.text


# what the forms do


def test_a_message_is_sent_from_the_form(server: Server, browser: Browser) -> None:
    name, queue = made(server)
    path = f"/dashboard/queues/{name}"

    reply = browser.submit(path, path, body='{"order":\r\n7}', content_type="json", priority="high", delay_seconds="90")

    assert "The message is in the queue." in Page(browser.follow(path, reply)).text
    [message] = peek(server, queue)
    assert message["priority"] == "high"
    assert pull_is_empty(server, queue)


def pull_is_empty(server: Server, queue: str) -> bool:
    server.v4("POST", f"/queues/{queue}/consumers", PULL)
    return pull(server, queue) == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"body": "{nope & <b>"}, "body is not JSON"),
        ({"body": "1", "delay_seconds": "soon"}, "delay_seconds is 'soon'; expected a number"),
        ({"body": "1", "delay_seconds": "nan"}, "delay_seconds is nan"),
        ({"body": "1", "priority": "urgent"}, "priority is 'urgent'"),
    ],
)
def test_a_message_that_is_refused_stays_in_the_form(
    server: Server, browser: Browser, fields: dict[str, str], sentence: str
) -> None:
    name, queue = made(server)
    path = f"/dashboard/queues/{name}"

    reply = browser.submit(path, path, **fields)

    page = assert_safe(reply)
    assert reply.status == 400
    assert sentence in page.text
    assert fields["body"] in page.text
    assert backlog(server, queue)["backlog_count"] == 0


def test_a_queue_is_paused_and_resumed_and_the_trail_names_the_key(server: Server) -> None:
    key_id, secret = new_key(server, "operator")
    name, queue = made(server)
    browser, path = Browser(server), f"/dashboard/queues/{name}"
    browser.log_in(secret)

    browser.submit(path, f"{path}/pause")
    is_paused = server.v4("GET", f"/queues/{queue}").result["settings"]["delivery_paused"]
    browser.submit(path, f"{path}/resume")

    assert is_paused
    assert not server.v4("GET", f"/queues/{queue}").result["settings"]["delivery_paused"]
    entries = server.call("GET", f"/api/audit?object=queue%20{name}").json["entries"]
    assert [(entry["act"], entry["actor"]) for entry in entries[:2]] == [
        ("queue.resumed", key_id),
        ("queue.paused", key_id),
    ]


def test_a_queue_is_purged_only_when_its_name_was_typed(server: Server, browser: Browser) -> None:
    name, queue = made(server)
    push(server, queue)
    path = f"/dashboard/queues/{name}"

    refused = browser.submit(path, f"{path}/purge", name="another")
    left = backlog(server, queue)["backlog_count"]
    purged = browser.submit(path, f"{path}/purge", name=name)

    assert (refused.status, left) == (400, 1)
    assert (purged.status, backlog(server, queue)["backlog_count"]) == (303, 0)


def test_dead_letters_are_shown_with_reason_and_origin_and_go_back_by_reason(server: Server, browser: Browser) -> None:
    name, dead, dead_id = buried(server, "one", "two")
    page = Page(browser.get("/dashboard/dead-letters"))
    act = f"/dashboard/queues/{dead}/redrive"

    none = browser.submit("/dashboard", act, reason="other", page="dead-letters")
    all_of_them = browser.submit("/dashboard", act, reason="max_retr", page="dead-letters")

    assert f"{dead} 2" in page.text
    assert f"max_retries {name}" in page.text
    assert "0 messages went back" in Page(browser.follow(act, none)).text
    assert "2 messages went back" in Page(browser.follow(act, all_of_them)).text
    assert backlog(server, dead_id)["backlog_count"] == 0


def test_one_dead_letter_is_discarded(server: Server, browser: Browser) -> None:
    _, dead, dead_id = buried(server, "keep", "drop")
    [ref] = [message["ref"] for message in peek(server, dead_id) if message["body"] == "drop"]
    act = f"/dashboard/queues/{dead}/discard"

    first = browser.submit("/dashboard", act, ref=ref, page="dead-letters")
    second = browser.submit("/dashboard", act, ref=ref)

    assert "The message is deleted." in Page(browser.follow(act, first)).text
    assert "was not there any more" in Page(browser.follow(act, second)).text
    assert [message["body"] for message in peek(server, dead_id)] == ["keep"]


@pytest.mark.parametrize("ref", ["", "nonsense", "<b>"])
def test_a_ref_that_names_no_message_discards_none(server: Server, browser: Browser, ref: str) -> None:
    name, _ = made(server)
    act = f"/dashboard/queues/{name}/discard"

    reply = browser.submit("/dashboard", act, ref=ref)

    assert "not there any more" in Page(browser.follow(act, reply)).text


def test_an_event_is_sent_from_the_form(server: Server, browser: Browser) -> None:
    path = "/dashboard/events"

    reply = browser.submit(path, path, payload='{"from": "the form"}', metadata='{"source": "page"}')

    page = Page(browser.follow(path, reply))
    assert "The event is in the queue." in page.text
    assert '{"from": "the form"}' in page.text


@pytest.mark.parametrize("payload", ["[1]", "{nope", ""])
def test_an_event_that_is_refused_stays_in_the_form(browser: Browser, payload: str) -> None:
    reply = browser.submit("/dashboard/events", "/dashboard/events", payload=payload, metadata='{"kept": 1}')

    assert reply.status == 400
    assert '{"kept": 1}' in Page(reply).text


def test_the_documents_of_the_api_leave_the_pages_out(server: Server) -> None:
    paths = server.call("GET", "/openapi.json").json["paths"]

    assert [path for path in paths if path.startswith("/dashboard")] == []


def test_no_other_files_are_given_than_those_pages_load(server: Server) -> None:
    for path in ("..%2froutes.py", "%2e%2e%2froutes.py", "../templates/frame.html"):
        assert server.call("GET", f"/dashboard/static/{path}").status == 404
