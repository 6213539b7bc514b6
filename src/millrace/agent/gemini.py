"""Gemini over HTTP: at Google itself, or through a gateway before it."""

import random
import re
import time
from typing import Any, TypeVar

import msgspec

from millrace.agent.enrichment import Enrichment
from millrace.client.answers import read_answer
from millrace.client.retries import Retries
from millrace.client.sync_calls import Calls, Chance, Sleep
from millrace.edge_jobs.config import Gemini
from millrace.errors import MillraceError, ServerUnreachable

T = TypeVar("T")

ANSWER_SECONDS = 60
RETRIES = Retries(count=4, base_seconds=0.5, cap_seconds=8, total_seconds=90)
SUMMARY_CHARACTERS = 200_000  # of the text that is summed up: far below the window of the model
EMBEDDED_CHARACTERS = 6_000  # text-embedding-004 reads 2,048 tokens
OK = 200
VERSIONED = re.compile(r"/v1(beta)?$")
PROMPT = "Sum up the following document in at most five sentences, in its own language. Give the summary only.\n\n"


class GeminiProvider:
    """Makes summaries by `generateContent` and embeddings by `embedContent`. The key travels in a header only."""

    def __init__(
        self,
        gemini: Gemini,
        chat_model: str,
        embed_model: str,
        *,
        retries: Retries = RETRIES,
        chance: Chance = random.random,
        sleep: Sleep = time.sleep,
    ) -> None:
        root = gemini.gateway_url.rstrip("/")
        self._calls = Calls(
            root, None, None, retries=retries, timeout_seconds=ANSWER_SECONDS, chance=chance, sleep=sleep
        )
        self._version = "" if VERSIONED.search(root) else "/v1beta"
        self._headers = {"x-goog-api-key": gemini.api_key}
        self._chat_model, self._embed_model = chat_model, embed_model

    def enrich(self, text: str) -> Enrichment:
        """Make both.

        Raises:
            MillraceError: Gemini refuses, or cannot be reached; the nearest class there is.
        """
        return Enrichment(
            provider="gemini",
            summary=self._summary(text),
            summary_model=self._chat_model,
            embedding=self._embedding(text),
            embedding_model=self._embed_model,
        )

    def _summary(self, text: str) -> str:
        body = {"contents": [{"role": "user", "parts": [{"text": PROMPT + text[:SUMMARY_CHARACTERS]}]}]}
        answer = self._ask(self._chat_model, "generateContent", body, _Generated)
        return "".join(part.text for candidate in answer.candidates[:1] for part in candidate.content.parts).strip()

    def _embedding(self, text: str) -> list[float]:
        content = {"parts": [{"text": text[:EMBEDDED_CHARACTERS]}]}
        body = {"model": f"models/{self._embed_model}", "content": content}
        return self._ask(self._embed_model, "embedContent", body, _Embedded).embedding.values

    def _ask(self, model: str, verb: str, body: dict[str, Any], type: type[T]) -> T:
        path = f"{self._version}/models/{model}:{verb}"
        try:
            return read_answer(self._calls.call("POST", path, body, headers=self._headers), type)
        except ServerUnreachable:
            raise
        except MillraceError as error:
            raise _renamed(error, f"Gemini's {verb} of {model} {_outcome(error)}") from None


def _outcome(error: MillraceError) -> str:
    return "gave no answer of its kind" if error.status == OK else f"failed with status {error.status}"


def _renamed(error: MillraceError, sentence: str) -> MillraceError:
    """Give the same kind of error, in words about Gemini."""
    renamed = type(error)(sentence)
    renamed.status, renamed.retry_after = error.status, error.retry_after
    return renamed


class _Part(msgspec.Struct, frozen=True):
    text: str = ""


class _Said(msgspec.Struct, frozen=True):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, frozen=True):
    content: _Said = _Said()


class _Generated(msgspec.Struct, frozen=True):
    candidates: list[_Candidate] = []


class _Values(msgspec.Struct, frozen=True):
    values: list[float]


class _Embedded(msgspec.Struct, frozen=True):
    embedding: _Values
