"""What a new name is, judged by text and picture."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from server.categories.naming import Likeness, TextMatch
from server.categories.verdicts import (
    CLOSE,
    FAR,
    MAX_CANDIDATES,
    Decision,
    PictureMatch,
    Verdict,
    decide,
)

PLUM, MANGO, GALIA = (UUID(int=number) for number in (1, 2, 3))
NEAR, EDGE, AWAY = PictureMatch(0.2, 0.5), PictureMatch(0.5, 0.5), PictureMatch(0.83, 0.5)


def text(likeness, distance=1):
    return TextMatch(likeness, distance, "")


class TestDecide:
    def test_nothing_alike_and_nothing_near_is_new(self):
        assert decide({}, {PLUM: AWAY}) == Decision(Verdict.NEW, ())

    def test_a_project_without_categories(self):
        assert decide({}, {}) == Decision(Verdict.NEW, ())

    def test_the_same_name(self):
        assert decide({PLUM: text(Likeness.EXACT, 0)}, {}) == Decision(Verdict.SAME, (PLUM,))

    def test_the_same_name_for_a_picture_within_reach(self):
        for picture in (NEAR, EDGE, PictureMatch(0.5 * FAR, 0.5)):
            assert decide({GALIA: text(Likeness.EXACT, 0)}, {GALIA: picture}).verdict is Verdict.SAME

    def test_the_same_name_for_a_picture_far_off_is_a_homonym(self):
        decision = decide({GALIA: text(Likeness.EXACT, 0)}, {GALIA: AWAY, PLUM: NEAR})
        assert decision == Decision(Verdict.HOMONYM, (GALIA,))

    def test_the_same_words_are_the_same_wherever_the_picture_lies(self):
        assert decide({PLUM: text(Likeness.SAME_WORDS)}, {PLUM: AWAY}) == Decision(Verdict.SAME, (PLUM,))

    def test_a_slip_is_asked_about_wherever_the_picture_lies(self):
        assert decide({PLUM: text(Likeness.SLIP)}, {PLUM: AWAY, MANGO: NEAR}) == Decision(
            Verdict.TYPO, (PLUM,)
        )

    def test_of_two_slips_the_smaller_comes_first_then_the_nearer_picture(self):
        texts = {PLUM: text(Likeness.SLIP, 2), MANGO: text(Likeness.SLIP, 1), GALIA: text(Likeness.SLIP, 1)}
        decision = decide(texts, {GALIA: NEAR, MANGO: AWAY})
        assert decision.categories == (GALIA, MANGO, PLUM)

    def test_another_word_on_a_picture_well_within_reach_is_a_synonym(self):
        assert decide({}, {PLUM: NEAR, MANGO: AWAY}) == Decision(Verdict.SYNONYM, (PLUM,))

    def test_another_word_on_a_picture_at_the_edge_is_new(self):
        assert decide({}, {PLUM: EDGE}).verdict is Verdict.NEW

    def test_likely_synonyms_come_nearest_first(self):
        pictures = {PLUM: PictureMatch(0.3, 0.5), MANGO: PictureMatch(0.1, 0.5), GALIA: EDGE}
        assert decide({}, pictures).categories == (MANGO, PLUM)

    def test_a_category_without_spread_is_never_near(self):
        assert decide({}, {PLUM: PictureMatch(0.0, 0.0)}).verdict is Verdict.NEW

    def test_never_more_candidates_than_can_be_shown(self):
        many = [UUID(int=number) for number in range(20)]
        assert len(decide({}, dict.fromkeys(many, NEAR)).categories) == MAX_CANDIDATES
        assert len(decide(dict.fromkeys(many, text(Likeness.SLIP)), {}).categories) == MAX_CANDIDATES

    @given(
        st.dictionaries(
            st.sampled_from([PLUM, MANGO, GALIA]),
            st.builds(
                TextMatch,
                st.sampled_from([Likeness.EXACT, Likeness.SAME_WORDS, Likeness.SLIP]),
                st.integers(0, 3),
                st.just(""),
            ),
        ),
        st.dictionaries(
            st.sampled_from([PLUM, MANGO, GALIA]),
            st.builds(PictureMatch, st.floats(0, 2), st.floats(0, 2)),
        ),
    )
    def test_only_what_is_new_has_no_candidates(self, texts, pictures):
        decision = decide(texts, pictures)
        assert (decision.verdict is Verdict.NEW) == (not decision.categories)
        if texts:
            assert decision.verdict in (Verdict.SAME, Verdict.TYPO, Verdict.HOMONYM)
            assert set(decision.categories) <= set(texts)
        elif decision.categories:
            assert all(pictures[category].share <= CLOSE for category in decision.categories)
