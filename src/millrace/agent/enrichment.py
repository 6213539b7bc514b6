"""What is found in a text: a summary and an embedding, by Gemini or, where none is configured, here."""

import re
from collections.abc import Iterator
from hashlib import blake2b
from math import sqrt
from typing import Protocol

import msgspec

SUMMARY_CHARACTERS = 600
COUNTED_CHARACTERS = 1_000_000  # a second or two; the words of a longer text do not differ much from its beginning's
DIMENSIONS = 384
GRAM = 3
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
WORD = re.compile(r"\w+")


class Enrichment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a provider made of a text. The models are named, since embeddings of different ones cannot be compared."""

    provider: str
    summary: str
    summary_model: str
    embedding: list[float]
    embedding_model: str


class Provider(Protocol):
    """Makes summaries and embeddings."""

    def enrich(self, text: str) -> Enrichment:
        """Make both of a text that is not empty."""
        ...


class Offline:
    """Makes both without a model: the first sentences, and counts of hashed words and pieces of words."""

    def enrich(self, text: str) -> Enrichment:
        """Make both; the same text always gives the same."""
        return Enrichment(
            provider="offline",
            summary=_first_sentences(text),
            summary_model="first-sentences",
            embedding=_hashed(text),
            embedding_model=f"hashed-{DIMENSIONS}",
        )


def _first_sentences(text: str) -> str:
    summary = ""
    for sentence in SENTENCE_END.split(" ".join(text[:COUNTED_CHARACTERS].split())):
        longer = f"{summary} {sentence}".strip()
        if len(longer) > SUMMARY_CHARACTERS:
            break
        summary = longer
    return summary or " ".join(text[:COUNTED_CHARACTERS].split())[:SUMMARY_CHARACTERS]


def _hashed(text: str) -> list[float]:
    """Count features into as many places as there are dimensions, with signs, and scale to length 1."""
    places = [0.0] * DIMENSIONS
    for feature in _features(text):
        number = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest())
        places[number % DIMENSIONS] += 1 if number >> 63 else -1
    length = sqrt(sum(value * value for value in places)) or 1.0
    return [round(value / length, 6) for value in places]


def _features(text: str) -> Iterator[str]:
    for found in WORD.finditer(text[:COUNTED_CHARACTERS].casefold()):
        word = found[0]
        yield word
        marked = f"<{word}>"
        yield from (marked[at : at + GRAM] for at in range(len(marked) - GRAM + 1))
