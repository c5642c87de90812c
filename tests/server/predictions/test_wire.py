"""What web process and predictor say to each other, and the word for a score."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.predictions.flags import Flag, flag_of
from server.predictions.wire import (
    PredictFailure,
    PredictReply,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    new_request,
)

REPLY = PredictReply(
    top=[("a", 0.75), ("b", 0.25)],
    nearest=[("a", 0.5, 0.6)],
    is_known=True,
    unknown_score=0.1,
    openness=0.5,
    informativeness=0.9,
    free_energy=0.3,
    model_version_id=str(uuid4()),
    version_number=3,
    memory_revision=17,
    width=640,
    height=480,
    notes=["extra-frames"],
)


class TestMessages:
    @given(st.binary(max_size=200))
    def test_a_request_keeps_every_byte_of_the_image(self, image):
        request = new_request(uuid4(), image, 5, 10.0)
        assert decode_request(encode_request(request)) == request

    @pytest.mark.parametrize("reply", [REPLY, PredictFailure("truncated", "The file ends too early.")])
    def test_a_reply_comes_back_as_it_was(self, reply):
        assert decode_reply(encode_reply(reply)) == reply

    def test_a_reply_that_is_not_finite_is_a_fault_of_the_predictor(self):
        with pytest.raises(ValueError, match="JSON"):
            encode_reply(replace(REPLY, openness=float("nan")))

    def test_an_image_is_not_printed(self):
        assert "secret" not in repr(new_request(uuid4(), b"secret", 5, 10.0))

    def test_the_header_is_one_line_of_json(self):
        header = encode_request(new_request(uuid4(), b"\n\n", 5, 10.0)).split(b"\n", 1)[0]
        assert json.loads(header)["top_k"] == 5


class TestFlagOf:
    @pytest.mark.parametrize(
        ("score", "is_known", "flag"),
        [
            (0.0, True, Flag.KNOWN),
            (0.449, True, Flag.KNOWN),
            (0.45, True, Flag.UNCERTAIN),
            (0.5, False, Flag.UNCERTAIN),
            (0.549, False, Flag.UNCERTAIN),
            (0.55, False, Flag.NEW),
            (1.0, False, Flag.NEW),
            (None, None, Flag.UNSCORED),
        ],
    )
    def test_the_band_around_the_cut_is_uncertain(self, score, is_known, flag):
        assert flag_of(score, is_known) is flag

    def test_a_score_and_a_decision_that_disagree_are_uncertain(self):
        assert flag_of(0.1, False) is Flag.UNCERTAIN
        assert flag_of(0.9, True) is Flag.UNCERTAIN
