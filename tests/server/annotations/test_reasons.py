"""The sentence under which an image is asked."""

import pytest

from server.annotations.reasons import sentence

SCORED = {
    "nearest_id": "00000000-0000-0000-0000-000000000001",
    "nearest_name": "Mango",
    "distance": 0.871,
    "usual_limit": 0.52,
    "categories": 58,
    "informativeness": 0.8,
}


class TestSentence:
    def test_a_new_image_with_its_evidence(self):
        assert sentence({"kind": "new"} | SCORED) == (
            "Unlike any of the 58 known categories. "
            "The nearest is Mango, 0.87 away; its images usually lie within 0.52."
        )

    def test_with_one_category_there_is_no_any_of(self):
        assert sentence({"kind": "new"} | SCORED | {"categories": 1}).startswith(
            "Unlike the only known category. The nearest is Mango"
        )

    def test_a_new_image_within_the_limit_is_not_called_unlike(self):
        text = sentence({"kind": "new"} | SCORED | {"distance": 0.4})
        assert text.startswith("Looks new, though not far off. The nearest is Mango, 0.40 away")

    def test_look_alikes_are_counted_without_the_image_itself(self):
        assert sentence({"kind": "new"} | SCORED | {"group_size": 12}).endswith(
            " 11 more that wait look like it."
        )

    @pytest.mark.parametrize("size", [None, 0, 1, 2])
    def test_a_lone_image_has_no_look_alikes(self, size):
        assert "look like it" not in sentence({"kind": "new"} | SCORED | {"group_size": size})

    def test_an_uncertain_image(self):
        assert sentence({"kind": "uncertain"} | SCORED).startswith(
            "On the border between known and new. The nearest is Mango, 0.87 away"
        )

    def test_a_known_image_torn_between_two(self):
        assert "torn between two" in sentence({"kind": "known"} | SCORED | {"informativeness": 0.97})
        assert "torn" not in sentence({"kind": "known"} | SCORED)

    def test_a_control_image(self):
        assert "at random" in sentence({"kind": "control"} | SCORED)

    def test_a_project_without_classes(self):
        assert "Your answer makes the first" in sentence({"kind": "no-classes"})

    def test_an_unscored_image(self):
        assert sentence({"kind": "unscored"}).startswith("Not scored yet")

    @pytest.mark.parametrize("kind", ["new", "uncertain", "known"])
    def test_a_category_that_has_gone_since_breaks_nothing(self, kind):
        text = sentence({"kind": kind} | SCORED | {"nearest_name": None})
        assert text
        assert "None" not in text
