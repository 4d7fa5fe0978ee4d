"""Suggestions for a misspelt setting name."""

import difflib
from collections.abc import Iterable

_MOST_SUGGESTIONS = 3
_LEAST_SIMILARITY = 0.72
_TIE = 0.03


def settings_like(name: str, known: Iterable[str]) -> list[str]:
    """Return the names of `known` that `name` may mean, the likeliest first; often none or one.

    Names that begin with `name` come first, because a comparison of letters alone prefers names
    of the same length: SESSION_DIGEST to SESSION_IDLE_SECONDS for SESSION_IDLE.
    """
    similarities = {each: _similarity(name, each) for each in sorted(known)}
    likely = [each for each in similarities if name and each.startswith(name)]
    if not likely:
        least = max(_LEAST_SIMILARITY, max(similarities.values(), default=0) - _TIE)
        likely = [each for each in similarities if similarities[each] >= least]
    # SECRET_KEY covers SECRET_KEY_FILE as well.
    shortest = [
        each for each in likely if not any(each.startswith(f"{other}_") for other in likely)
    ]
    if len(shortest) > _MOST_SUGGESTIONS:
        return []
    return sorted(shortest, key=similarities.__getitem__, reverse=True)


def _similarity(name: str, known: str) -> float:
    """Return the similarity of two names, from 0 to 1, by their letters or by their words."""
    words, known_words = name.split("_"), known.split("_")
    shared = (_words_found(words, known_words) + _words_found(known_words, words)) / 2
    return max(_ratio(name.replace("_", ""), known.replace("_", "")), shared)


def _words_found(words: list[str], others: list[str]) -> float:
    """Return how well the others hold these words, from 0 to 1."""
    return sum(max(_ratio(word, other) for other in others) for word in words) / len(words)


def _ratio(text: str, other: str) -> float:
    return difflib.SequenceMatcher(None, text, other, autojunk=False).ratio()
