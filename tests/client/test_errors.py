"""Each refusal has its class, and all that a program or a person needs to go on."""

import pytest

from millrace import errors
from millrace.client.retries import NONE
from tests.client.recorded import Reply, refusal

REFUSED = [
    (400, 10026, errors.InvalidInput),
    (400, 11003, errors.InvalidQueueName),
    (400, 10203, errors.InvalidMessage),
    (400, 100127, errors.InvalidConsumerSettings),
    (400, 100128, errors.InvalidQueueSettings),
    (401, 10000, errors.Unauthenticated),
    (403, 10000, errors.Forbidden),
    (404, 11000, errors.QueueNotFound),
    (404, 11005, errors.ConsumerNotFound),
    (404, 7003, errors.NotFound),
    (405, 0, errors.PullNotEnabled),
    (400, 10208, errors.BodyNotJson),
    (408, 10208, errors.RequestTimedOut),
    (409, 11009, errors.QueueNameTaken),
    (409, 11004, errors.ConsumerExists),
    (409, 10252, errors.DeliveryPaused),
    (409, 10409, errors.IdempotencyKeyReused),
    (413, 10204, errors.MessageTooLarge),
    (413, 10205, errors.BatchTooLarge),
    (422, 1, errors.MillraceError),
    (429, 10250, errors.Overloaded),
    (429, 10251, errors.BacklogFull),
    (429, 971, errors.Overloaded),
    (500, 15000, errors.ServerFailed),
    (503, 15000, errors.StoreUnavailable),
    (504, 1, errors.ServerFailed),
]


@pytest.mark.parametrize(("status", "code", "kind"), REFUSED)
def test_a_refusal_has_its_class_status_and_code(asking, recorded, status, code, kind):
    recorded.replies.append(Reply(status, refusal(code, "as it is"), {"X-Correlation-ID": "c-1", "Retry-After": "7"}))

    error = asking()

    assert type(error) is kind
    assert (error.status, error.code) == (status, code)
    assert (error.correlation_id, error.retry_after) == ("c-1", 7)
    assert str(error).startswith("as it is")
    assert str(error).endswith(f"[code: {code}]")


def test_a_refusal_under_a_status_of_success_is_one(asking, recorded):
    recorded.replies.append(Reply(200, refusal(11000, "queue not found")))

    error = asking()

    assert type(error) is errors.QueueNotFound
    assert (error.status, error.code) == (200, 11000)


def test_a_deletion_that_was_refused_under_a_status_of_success_did_not_happen(make_client, recorded):
    client = make_client(recorded.url)
    client.metrics("my-queue")
    recorded.replies.append(Reply(200, refusal(10000, "not this one")))

    with pytest.raises(errors.MillraceError, match="not this one"):
        client.delete_queue("my-queue")


def test_cloudflares_ray_is_a_correlation_id(asking, recorded):
    recorded.replies.append(Reply(500, refusal(15000, "unknown"), {"CF-Ray": "230b030023ae2822-SJC"}))

    assert asking().correlation_id == "230b030023ae2822-SJC"


MALFORMED = [
    (200, b"<html>Welcome</html>"),
    (200, b""),
    (200, b"[1]"),
    (200, b"{}"),
    (200, b'{"success": true}'),
    (200, b'{"success": true, "result": []}'),
    (200, b'{"success": true, "result": {"backlog_count": "many"}}'),
    (200, b'{"success": true, "result": "\xff"}'),
    (301, b""),
    (404, b"<html>no such page</html>"),
    (418, b'{"errors": []}'),
]


@pytest.mark.parametrize(("status", "body"), MALFORMED)
def test_an_answer_that_is_none_doubts_the_url(asking, recorded, status, body):
    recorded.replies.append(Reply(status, body))

    error = asking()

    assert type(error) is errors.UnexpectedAnswer
    assert error.status == status
    assert "is the URL right?" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, errors.Unauthenticated), (429, errors.Overloaded), (502, errors.ServerFailed)]
)
def test_what_stands_before_a_server_is_understood_by_its_status(asking, recorded, status, kind):
    recorded.replies.append(Reply(status, b"<html>gateway</html>"))

    assert type(asking()) is kind


def test_a_queue_without_an_id_is_an_unexpected_answer(make_client, recorded):
    client = make_client(recorded.url)
    recorded.replies.append(Reply(200, {"success": True, "result": [{"queue_name": "my-queue"}]}))

    with pytest.raises(errors.UnexpectedAnswer, match="queue_id"):
        client.queue("my-queue")


def test_without_a_key_a_refusal_says_how_to_give_one(make_client, recorded):
    client = make_client(recorded.url, None)
    recorded.replies.append(Reply(401, refusal(10000, "Authentication error")))

    with pytest.raises(errors.Unauthenticated, match="MILLRACE_TOKEN"):
        client.queue("my-queue")


def test_a_key_that_is_refused_is_told_from_one_that_is_missing(make_client, recorded):
    recorded.replies.append(Reply(401, refusal(10000, "Authentication error")))

    with pytest.raises(errors.Unauthenticated, match="the key was refused"):
        make_client(recorded.url).queue("my-queue")


def test_a_key_of_several_accounts_needs_to_be_told_which(make_client, recorded):
    recorded.answers["GET", "/client/v4/accounts"] = [{"id": "a"}, {"id": "b"}]

    with pytest.raises(errors.Forbidden, match="2 accounts; say which with account_id"):
        make_client(recorded.url).metrics("my-queue")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8787", "ftp://here", "http://", "http://[", "http://here?x=1", "", "http://a b"]
)
def test_a_url_that_is_none_is_said_at_once(make_client, url):
    with pytest.raises(errors.ConfigurationError, match="server's URL"):
        make_client(url)


def test_a_password_in_a_url_is_refused_and_not_shown(make_client):
    with pytest.raises(errors.ConfigurationError, match="give the key as the token") as raised:
        make_client("http://me:secret@127.0.0.1:1")

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["\ud800", "a/../b?c", "ä ö"])
def test_any_name_may_be_asked_for(make_client, recorded, name):
    with pytest.raises((errors.QueueNotFound, errors.InvalidInput)):
        make_client(recorded.url).queue(name)


def test_a_body_that_json_has_not_is_refused_before_anything_is_sent(make_client, recorded):
    with pytest.raises(errors.InvalidMessage):
        make_client(recorded.url).send_batch("my-queue", [{"body": 1}, {"body": object()}])

    assert recorded.asked == []


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "ä", "x" * 256])
def test_an_idempotency_key_that_no_header_can_carry_is_refused(make_client, recorded, key):
    with pytest.raises(errors.InvalidMessage, match="expected 1 to 255 printable ASCII characters"):
        make_client(recorded.url).send("my-queue", 1, idempotency_key=key)


@pytest.mark.parametrize("message", [{}, {"text": 1}, {"body": 1, "contentType": "text"}, "body", None])
def test_a_message_of_a_batch_that_is_none_is_said_with_its_keys(make_client, recorded, message):
    with pytest.raises(errors.InvalidMessage, match="expected a mapping with body"):
        make_client(recorded.url).send_batch("my-queue", [message])


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_delay_that_json_has_not_is_refused_before_anything_is_sent(make_client, recorded, seconds):
    client = make_client(recorded.url)

    for call in (
        lambda: client.send("my-queue", 1, delay_seconds=seconds),
        lambda: client.send_batch("my-queue", [{"body": 1}], delay_seconds=seconds),
        lambda: client.settle("my-queue", retries=[("lease", seconds)]),
    ):
        with pytest.raises(errors.InvalidMessage, match="expected 0 to 86400"):
            call()

    assert recorded.asked == []


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_a_rate_that_json_has_not_does_not_mean_all_at_once(make_client, recorded, rate):
    with pytest.raises(errors.InvalidInput, match="expected a finite number"):
        make_client(recorded.url).redrive("my-queue", per_second=rate)

    assert recorded.asked == []


def test_one_lease_in_place_of_several_is_not_taken_for_its_letters(make_client, recorded):
    client = make_client(recorded.url)
    (delivery, _) = client.receive("my-queue")

    for call in (
        lambda: client.settle("my-queue", delivery),
        lambda: client.settle("my-queue", retries=delivery.lease_id),
        lambda: client.extend("my-queue", delivery.lease_id, 1000),
        lambda: client.discard("my-queue", "ref-1"),
    ):
        with pytest.raises(errors.InvalidInput, match="expected a list of them"):
            call()


@pytest.fixture
def asking(make_client, recorded):
    """Ask for metrics and give the error."""
    client = make_client(recorded.url, retries=NONE)
    client.queue("my-queue")
    client.metrics("my-queue")

    def ask() -> errors.MillraceError:
        with pytest.raises(errors.MillraceError) as raised:
            client.metrics("my-queue")
        return raised.value

    return ask
