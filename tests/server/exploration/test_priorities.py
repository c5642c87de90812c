"""The order of the queue, decided on plain arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.exploration.priorities import (
    KINDS,
    ROUND_FLOOR,
    UNSCORED,
    ReasonKind,
    arrange,
    control_turns,
    kinds,
    priorities,
)
from server.exploration.scores import Scores


class TestControlTurns:
    def test_every_twentieth_served_is_a_control(self) -> None:
        turns = control_turns(0, 100, 0.05)

        assert np.flatnonzero(turns).tolist() == [19, 39, 59, 79, 99]

    @given(served=st.integers(0, 10_000), length=st.integers(0, 200), share=st.floats(0, 1))
    def test_do_not_depend_on_when_the_queue_was_arranged(
        self, served: int, length: int, share: float
    ) -> None:
        from_the_start = control_turns(0, served + length, share)

        assert control_turns(served, length, share).tolist() == from_the_start[served:].tolist()

    @given(length=st.integers(1, 2000), share=st.floats(0, 1))
    def test_come_up_in_their_share(self, length: int, share: float) -> None:
        assert control_turns(0, length, share).sum() == pytest.approx(share * length, abs=1.001)


class TestArrange:
    def test_puts_controls_at_their_turns_and_the_others_in_their_order(self) -> None:
        turns = np.array([False, True, False, False])

        assert arrange(turns, np.array([7, 3, 5]), np.array([9])).tolist() == [7, 9, 3, 5]

    @given(
        turns=st.lists(st.booleans(), max_size=20),
        chosen=st.integers(0, 10),
        controls=st.integers(0, 10),
    )
    def test_leaves_nothing_out_and_doubles_nothing(
        self, turns: list[bool], chosen: int, controls: int
    ) -> None:
        order = arrange(np.array(turns, np.bool_), np.arange(chosen), np.arange(chosen, chosen + controls))

        assert sorted(order.tolist()) == list(range(chosen + controls))


class TestPriorities:
    def test_the_round_comes_before_the_rest_and_the_rest_before_unscored_images(self) -> None:
        energy = np.array([2.0, -1e9, 0.5, 1e9], np.float32)

        found = priorities(energy, np.array([1, 2]))

        assert np.argsort(-found).tolist() == [1, 2, 3, 0]
        assert found[[1, 2]].min() > ROUND_FLOOR > found[[0, 3]].max()
        assert priorities(energy, np.array([], np.int64)).min() > UNSCORED


class TestKinds:
    def scores(self, unknown_score: list[float], categories: int = 1) -> Scores:
        count = len(unknown_score)
        score = np.array(unknown_score, np.float32)
        nothing = np.zeros(count, np.float32)
        ids = np.zeros((count, categories), "V16")
        return Scores(
            image_ids=np.zeros(count, "V16"),
            top_ids=ids,
            probabilities=np.zeros((count, categories), np.float32),
            nearest_ids=ids,
            distances=np.zeros((count, categories), np.float32),
            usual_limits=nothing,
            openness=nothing,
            informativeness=nothing,
            free_energy=nothing,
            unknown_score=score,
            is_known=score < 0.5,
        )

    def named(self, scores: Scores, is_control: list[bool]) -> list[ReasonKind]:
        return [KINDS[kind] for kind in kinds(scores, np.array(is_control))]

    def test_follow_the_flag_that_people_see(self) -> None:
        scores = self.scores([0.2, 0.46, 0.53, 0.9])

        assert self.named(scores, [False] * 4) == [
            ReasonKind.KNOWN,
            ReasonKind.UNCERTAIN,
            ReasonKind.UNCERTAIN,
            ReasonKind.NEW,
        ]

    def test_a_control_says_so_whatever_its_score(self) -> None:
        assert self.named(self.scores([0.9, 0.9]), [True, False]) == [ReasonKind.CONTROL, ReasonKind.NEW]

    def test_without_any_category_that_is_the_reason(self) -> None:
        assert self.named(self.scores([1.0], categories=0), [False]) == [ReasonKind.NO_CLASSES]
