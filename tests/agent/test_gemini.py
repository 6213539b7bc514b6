from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from millrace.agent.gemini import GeminiProvider
from millrace.edge_jobs import Gemini
from millrace.errors import Forbidden, MillraceError, ServerUnreachable

KEY = "the-google-key"
CHAT = "/v1beta/models/gemini-2.0-flash:generateContent"
EMBED = "/v1beta/models/text-embedding-004:embedContent"
SUMMARY = {"candidates": [{"content": {"parts": [{"text": "It is "}, {"text": "about mills. "}]}}]}
EMBEDDING = {"embedding": {"values": [0.5, -0.25]}}


def _provider(url: str, pauses: list[float] | None = None) -> GeminiProvider:
    sleep: Any = (pauses if pauses is not None else []).append
    return GeminiProvider(
        Gemini(gateway_url=url, api_key=KEY), "gemini-2.0-flash", "text-embedding-004", chance=lambda: 1.0, sleep=sleep
    )


@pytest.mark.parametrize("path", ["", "/v1/account/gateway/google-ai-studio", "/v1beta"])
def test_a_summary_and_an_embedding_are_asked_for_with_the_key_in_a_header(httpserver: HTTPServer, path: str) -> None:
    """S2-32, S2-33, S2-34."""
    root, key = path.removesuffix("/v1beta"), {"x-goog-api-key": KEY}
    httpserver.expect_request(root + CHAT, "POST", headers=key).respond_with_json(SUMMARY)
    httpserver.expect_request(root + EMBED, "POST", headers=key).respond_with_json(EMBEDDING)

    found = _provider(httpserver.url_for(path)).enrich("Mills turn.")

    assert (found.summary, found.embedding) == ("It is about mills.", [0.5, -0.25])
    assert (found.summary_model, found.embedding_model) == ("gemini-2.0-flash", "text-embedding-004")
    assert not any(KEY in request.url or b"Bearer" in request.data for request, _ in httpserver.log)


def test_the_text_is_in_the_requests(httpserver: HTTPServer) -> None:
    httpserver.expect_request(CHAT).respond_with_json(SUMMARY)
    httpserver.expect_request(EMBED).respond_with_json(EMBEDDING)

    _provider(httpserver.url_for("")).enrich("Mills turn. " * 1_000)

    [asked, embedded] = [request.get_json() for request, _ in httpserver.log]
    assert asked["contents"][0]["parts"][0]["text"].endswith("Mills turn. ")
    assert embedded["model"] == "models/text-embedding-004"
    assert len(embedded["content"]["parts"][0]["text"]) == 6_000


def test_a_limit_is_waited_for(httpserver: HTTPServer) -> None:
    pauses: list[float] = []
    httpserver.expect_ordered_request(CHAT).respond_with_data("", status=429, headers={"Retry-After": "3"})
    httpserver.expect_ordered_request(CHAT).respond_with_json(SUMMARY)
    httpserver.expect_ordered_request(EMBED).respond_with_json(EMBEDDING)

    _provider(httpserver.url_for(""), pauses).enrich("Mills turn.")

    assert pauses == [3]


def test_a_refusal_is_told_in_words_about_gemini_and_without_the_key(httpserver: HTTPServer) -> None:
    httpserver.expect_request(CHAT).respond_with_json({"error": {"code": 403, "message": f"key {KEY} is wrong"}}, 403)

    with pytest.raises(
        Forbidden, match=r"Gemini's generateContent of gemini-2\.0-flash failed with status 403"
    ) as refused:
        _provider(httpserver.url_for("")).enrich("Mills turn.")

    assert KEY not in str(refused.value)


def test_an_answer_without_an_embedding_is_an_error(httpserver: HTTPServer) -> None:
    httpserver.expect_request(CHAT).respond_with_json(SUMMARY)
    httpserver.expect_request(EMBED).respond_with_json({})

    with pytest.raises(MillraceError, match="embedContent"):
        _provider(httpserver.url_for("")).enrich("Mills turn.")


def test_a_gateway_that_is_away_is_said_to_be(httpserver: HTTPServer) -> None:
    with pytest.raises(ServerUnreachable):
        _provider("http://127.0.0.1:9").enrich("Mills turn.")
