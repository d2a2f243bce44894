"""The language of scenarios: lines of words.

Owns the text alone; what a verb does is the stage's. The language is described in
`tests/conformance/README.md`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYED = re.compile(r"(?P<key>[a-z._]+)=(?P<value>.*)", re.DOTALL)
_TIME = re.compile(r"(?P<sign>[+-]?)(?P<number>\d+)(?P<unit>ms|s|m|h)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


class Word(NamedTuple):
    """A word: a plain value, or `key=value`."""

    key: str | None
    value: str


class Line(NamedTuple):
    """One command of a scenario: what is said, and what must be answered."""

    number: int
    verb: str
    words: list[Word]
    expected: list[Word]

    def get(self, key: str, default: str = "") -> str:
        """The value of a key."""
        return keyed(self.words).get(key, default)

    def plain(self, at: int = 0) -> str:
        """The word without a key at a place."""
        return plain(self.words)[at]


def keyed(words: list[Word]) -> dict[str, str]:
    """The words that have a key."""
    return {word.key: word.value for word in words if word.key is not None}


def plain(words: list[Word]) -> list[str]:
    """The words that have none."""
    return [word.value for word in words if word.key is None]


def parse(text: str) -> list[Line]:
    """Read a scenario."""
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [
        _parse_line(number, line) for number, line in numbered if line and not line.startswith("#")
    ]


def _parse_line(number: int, line: str) -> Line:
    verb, *words = _split(line)
    arrow = words.index("->") if "->" in words else len(words)
    said, expected = words[:arrow], words[arrow + 1 :]
    return Line(number, verb, [_word(word) for word in said], [_word(word) for word in expected])


def _word(word: str) -> Word:
    match = _KEYED.fullmatch(word)
    return Word(match["key"], match["value"]) if match else Word(None, word)


def _split(line: str) -> Iterator[str]:
    """Split at spaces, but not within quotes or brackets."""
    word, depth, quoted = "", 0, False
    for letter in line:
        if letter == '"':
            quoted = not quoted
        elif not quoted:
            depth += (letter in "{[") - (letter in "}]")
        if letter == " " and not depth and not quoted:
            if word:
                yield word
            word = ""
        else:
            word += letter
    if word:
        yield word


def text(value: str) -> str:
    """The text of a value: without its quotes, if it has any."""
    is_quoted = len(value) > 1 and value.startswith('"') and value.endswith('"')
    return value[1:-1] if is_quoted else value


def milliseconds(value: str) -> int:
    """A length of time such as `5s`, or one seen from now such as `-1s`, in milliseconds."""
    match = _TIME.fullmatch(value)
    assert match is not None, f"{value} is no length of time"
    size = int(match["number"]) * _UNITS_MS[match["unit"]]
    return -size if match["sign"] == "-" else size


def normal(value: str) -> str:
    """A value as answers show it: times in milliseconds, texts without quotes."""
    match = _TIME.fullmatch(value)
    if match is None:
        return text(value)
    return f"{match['sign']}{abs(milliseconds(value))}ms"
