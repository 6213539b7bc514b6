import pytest

from tests.http.wire import assert_failure

V4 = "/client/v4"


def test_the_account_of_the_key_is_the_only_one(server):
    for query in ("", "?page=1"):
        assert server.call("GET", f"{V4}/accounts{query}").result == [{"id": "local", "name": "local"}]
    assert server.call("GET", f"{V4}/accounts?page=2").result == []
    assert server.call("GET", f"{V4}/accounts/local").result == {"id": "local", "name": "local"}
    assert_failure(server.call("GET", f"{V4}/accounts/other"), 403, 10000)


def test_the_membership_names_the_account(server):
    membership = server.call("GET", f"{V4}/memberships?page=1").result[0]

    assert membership["account"] == {"id": "local", "name": "local"}
    assert isinstance(membership["roles"], list)
    assert membership["permissions"] == []


def test_a_valid_key_is_active_and_stands_for_somebody(server):
    status = server.call("GET", f"{V4}/user/tokens/verify").result
    user = server.call("GET", f"{V4}/user").result

    assert status == {"id": status["id"], "status": "active"}
    assert user["id"] == status["id"]
    assert "@" in user["email"]


@pytest.mark.parametrize("path", ["/accounts", "/memberships", "/user", "/user/tokens/verify"])
def test_a_wrong_key_is_refused_alike_everywhere(server, path):
    assert_failure(server.call("GET", V4 + path, key="wrong"), 401, 10000)


@pytest.mark.parametrize("path", ["/accounts", "/memberships"])
def test_lists_have_their_page_info(server, path):
    info = server.call("GET", V4 + path).json["result_info"]

    assert (info["page"], info["count"], info["total_count"], info["total_pages"]) == (1, 1, 1, 1)
