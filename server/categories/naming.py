"""When two names are one name, and when one is likely a slip for the other. Pure text, no database.

A name is compared in three forms: its *key* (equal keys are one name), its *folded* form (accents and
joining marks gone) for letters that differ, and its *words* for order, plural and spacing.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from rapidfuzz.distance import DamerauLevenshtein, Levenshtein
from rapidfuzz.process import extract

from server.errors import InvalidInput

MAX_LENGTH = 100
# From how many letters on how many may differ in a likely slip. Short names differ by one letter all the
# time (cat, bat, rat; hare, hair); that many slips in a long one are still one name.
SLIPS = ((16, 3), (10, 2), (5, 1))

_ACCENTS = re.compile("[\u0300-\u036f]+")
_JOINING_MARKS = re.compile("[-_.,/&()'\u2019\u2010-\u2015\u00b7]+")
_DIGITS = re.compile(r"\d+")
# Letters and symbols that leave no ink: Hangul fillers and the empty Braille cell.
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# Joiners make emoji and words of Persian and Indic scripts; the selector asks for an emoji in colour.
_NEEDED_INVISIBLE = frozenset("\u200c\u200d\ufe0f")


class Likeness(StrEnum):
    """How two names relate, the closest first."""

    EXACT = "EXACT"
    SAME_WORDS = "SAME_WORDS"
    SLIP = "SLIP"
    OTHER = "OTHER"


@dataclass(frozen=True)
class TextMatch:
    """How like two names are. ``distance`` counts letters that differ, ``note`` says it for people."""

    likeness: Likeness
    distance: int
    note: str


Mark = tuple[int, int]


@dataclass(frozen=True)
class Marks:
    """Characters of two names that differ, as half-open ranges of code points."""

    typed: tuple[Mark, ...]
    other: tuple[Mark, ...]


@dataclass(frozen=True)
class _Forms:
    key: str
    folded: str
    words: tuple[str, ...]
    compact: str
    ordered: str
    digits: tuple[str, ...]


def clean(name: str) -> str:
    """The name as people will see it: one Unicode form, single spaces, nothing that cannot be seen.

    Raises:
        InvalidInput: nothing is left, a control character is in it, or it is longer than ``MAX_LENGTH``.
    """
    shown = unicodedata.normalize("NFC", name)
    shown = "".join(mark for mark in shown if mark in _NEEDED_INVISIBLE or not _is_invisible(mark))
    shown = " ".join(shown.split())
    if any(unicodedata.category(mark) in ("Cc", "Cs") for mark in shown):
        raise InvalidInput("A name cannot hold control characters.", code="name-unreadable")
    if not key_of(shown):
        raise InvalidInput("A name is missing: give at least one letter.", code="name-empty")
    if len(shown) > MAX_LENGTH:
        raise InvalidInput(
            f"A name has at most {MAX_LENGTH} characters; this one has {len(shown)}.", code="name-too-long"
        )
    return shown


@lru_cache(maxsize=1 << 16)
def key_of(name: str) -> str:
    """The form in which equal names are equal: no case, one kind of space, one Unicode form."""
    key = _fold_case(name)
    # Folding case can undo a normal form, and a normal form can bring spaces: a few rounds settle it.
    while (again := _fold_case(key)) != key:
        key = again
    return key


def compare(typed: str, other: str) -> TextMatch:
    """How like two names are; the same both ways round."""
    one, two = _forms(key_of(typed)), _forms(key_of(other))
    if one.key == two.key:
        return TextMatch(Likeness.EXACT, 0, "the same name")
    distance = min(
        DamerauLevenshtein.distance(one.folded, two.folded),
        DamerauLevenshtein.distance(one.ordered, two.ordered),
    )
    if note := _same_words(one, two):
        return TextMatch(Likeness.SAME_WORDS, distance, note)
    longest = max(len(one.folded), len(two.folded))
    note = f"{distance} of {longest} letters {'differs' if distance == 1 else 'differ'}"
    is_slip = distance <= _slips(longest) and not _is_apart_on_purpose(one, two, distance)
    return TextMatch(Likeness.SLIP if is_slip else Likeness.OTHER, distance, note)


def find_alike(typed: str, names: Sequence[str]) -> dict[int, TextMatch]:
    """Positions of the names that are the same or likely a slip, each with how like it is.

    Takes a few milliseconds for thousands of names: only those that can be alike are looked at closely.
    """
    form = _forms(key_of(typed))
    others = [_forms(key_of(name)) for name in names]
    most = _slips(len(form.folded) + SLIPS[0][1])
    near = {index for index, other in enumerate(others) if _same_words(form, other)}
    for own, choices in (
        (form.folded, [other.folded for other in others]),
        (form.ordered, [other.ordered for other in others]),
    ):
        found = extract(own, choices, scorer=DamerauLevenshtein.distance, score_cutoff=most, limit=None)
        near.update(index for _, _, index in found)
    matches = {index: compare(typed, names[index]) for index in sorted(near)}
    return {index: match for index, match in matches.items() if match.likeness is not Likeness.OTHER}


def differing(typed: str, other: str) -> Marks:
    """Where two names differ, letter by letter, whatever their case."""
    left, right = ([key_of(mark) or mark for mark in name] for name in (typed, other))
    steps = [step for step in Levenshtein.opcodes(left, right) if step.tag != "equal"]
    return Marks(
        tuple((step.src_start, step.src_end) for step in steps if step.src_end > step.src_start),
        tuple((step.dest_start, step.dest_end) for step in steps if step.dest_end > step.dest_start),
    )


def _fold_case(name: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join("".join(mark for mark in folded if not _is_invisible(mark)).split())


def _is_invisible(mark: str) -> bool:
    return (
        unicodedata.category(mark) == "Cf"
        or mark in _BLANKS
        or "\ufe00" <= mark <= "\ufe0f"
        or "\U000e0100" <= mark <= "\U000e01ef"
    )


@lru_cache(maxsize=1 << 16)
def _forms(key: str) -> _Forms:
    bare = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", key)))
    words = tuple(_JOINING_MARKS.sub(" ", bare).split()) or (key,)
    return _Forms(
        key=key,
        folded=" ".join(words),
        words=words,
        compact="".join(words),
        ordered=" ".join(sorted(words)),
        digits=tuple(_DIGITS.findall(key)),
    )


def _same_words(one: _Forms, two: _Forms) -> str:
    """What alone sets two names apart, for people; empty where it is more than that."""
    if one.folded == two.folded:
        return "only accents or joining marks differ"
    if one.compact == two.compact:
        return "only the spaces differ"
    if one.ordered == two.ordered:
        return "the same words in another order"
    if len(one.words) == len(two.words) and (
        _same_but_for_number(one.words, two.words)
        or _same_but_for_number(sorted(one.words), sorted(two.words))
    ):
        return "one is the plural of the other"
    return ""


def _same_but_for_number(words: Sequence[str], others: Sequence[str]) -> bool:
    return all(a == b or a in _singulars(b) or b in _singulars(a) for a, b in zip(words, others, strict=True))


def _singulars(word: str) -> tuple[str, ...]:
    """What an English plural may stand for; guesses, because they lead to a question only."""
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return ()
    guesses = [word[:-1]]
    if word.endswith("es") and len(word) > 4:
        guesses.append(word[:-2])
    if word.endswith("ies") and len(word) > 4:
        guesses.append(word[:-3] + "y")
    if word.endswith("ves") and len(word) > 4:
        guesses += [word[:-3] + "f", word[:-3] + "fe"]
    return tuple(guesses)


def _slips(length: int) -> int:
    return next((slips for least, slips in SLIPS if length >= least), 0)


def _is_apart_on_purpose(one: _Forms, two: _Forms, distance: int) -> bool:
    """Whether numbers, single letters or whole words tell two names apart, though few letters differ.

    Type 1 and Type 2, vitamin A and B, red and green pepper, smoking and no smoking. One letter that
    differs in a longer word is taken for a slip whatever the words.
    """
    if one.digits and two.digits and one.digits != two.digits:
        return True
    if len(one.words) != len(two.words):
        fewer, more = sorted((one.words, two.words), key=len)
        return set(fewer) <= set(more)
    apart = [(a, b) for a, b in zip(one.words, two.words, strict=True) if a != b]
    if apart and all(len(a) == len(b) == 1 for a, b in apart):
        return True
    return distance > 1 and not (
        _slip_by_slip(one.words, two.words) or _slip_by_slip(sorted(one.words), sorted(two.words))
    )


def _slip_by_slip(words: Sequence[str], others: Sequence[str]) -> bool:
    return all(
        DamerauLevenshtein.distance(a, b) <= _slips(max(len(a), len(b)))
        for a, b in zip(words, others, strict=True)
    )
