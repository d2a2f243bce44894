"""Owns the words of options that are enumerations in the protocol, and what is said of others."""

from __future__ import annotations

from typing import Any, get_args


def name_of_word(
    option: str,
    given: object,
    words: Any,  # noqa: ANN401  # a `Literal`, which has no type of its own
    prefix: str,
) -> str:
    """Return the name of a word in the protocol.

    Args:
        option: the option that has the word, for the message.
        given: the word.
        words: the `Literal` with the words that may be given.
        prefix: what the names of the enumeration begin with.

    Raises:
        ValueError: it is not one of the words.
    """
    known: tuple[str, ...] = get_args(words)
    if given not in known:
        raise ValueError(f"{option} {given!r} is not one of {', '.join(known)}")
    return prefix + str(given).upper()
