"""An image's label from what was said of it."""

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from server.annotations.consensus import DISPUTED, UNLABELLED, Label, Opinion, are_disputed, label_of
from server.tables import LabelSource, Verdict

HARE, RABBIT = uuid4(), uuid4()


def imported(category):
    return Opinion(LabelSource.IMPORTED, Verdict.KNOWN, category)


def human(category, verdict=Verdict.KNOWN):
    return Opinion(LabelSource.HUMAN, verdict, category)


opinions = st.lists(
    st.builds(imported, st.sampled_from([HARE, RABBIT])) | st.builds(human, st.sampled_from([HARE, RABBIT]))
)


class TestLabelOf:
    def test_nothing_said(self):
        assert label_of([]) == UNLABELLED

    def test_imports_that_agree(self):
        assert label_of([imported(HARE), imported(HARE)]) == Label(Verdict.KNOWN, HARE)

    def test_imports_that_disagree_leave_it_open(self):
        assert label_of([imported(HARE), imported(RABBIT)]) == DISPUTED

    def test_a_person_settles_a_dispute(self):
        assert label_of([imported(HARE), human(HARE), imported(RABBIT)]) == Label(Verdict.KNOWN, HARE)

    def test_the_last_person_counts(self):
        said = [human(HARE), human(None, Verdict.CANNOT_TELL)]
        assert label_of(said) == Label(Verdict.CANNOT_TELL, None)

    @given(opinions)
    def test_a_category_is_one_that_somebody_named(self, said):
        label = label_of(said)
        assert label.category_id is None or label.category_id in {opinion.category_id for opinion in said}
        assert (label.verdict is None) == (not said)

    @given(opinions, st.sampled_from([HARE, RABBIT]))
    def test_one_more_look_always_settles(self, said, category):
        assert label_of([*said, human(category)]) == Label(Verdict.KNOWN, category)

    @given(opinions)
    def test_only_a_dispute_among_imports_leaves_a_label_without_category(self, said):
        if label_of(said) == DISPUTED:
            assert are_disputed(said)
            assert all(opinion.source is LabelSource.IMPORTED for opinion in said)
