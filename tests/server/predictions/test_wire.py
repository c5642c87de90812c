"""What web process and predictor say to each other, and the word for a score."""

import json
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import REAL, literal, null, select

from server.predictions.flags import Flag, are_flagged, flag_of, is_flagged
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


class TestFlag:
    """One rule for a number, an array and a column."""

    CASES = (
        (0.0, Flag.KNOWN),
        (0.44, Flag.KNOWN),
        (0.46, Flag.UNCERTAIN),
        (0.5, Flag.UNCERTAIN),
        (0.54, Flag.UNCERTAIN),
        (0.56, Flag.NEW),
        (1.0, Flag.NEW),
    )

    @pytest.mark.parametrize(("score", "flag"), [*CASES, (0.45, Flag.UNCERTAIN), (0.55, Flag.NEW)])
    def test_the_band_around_the_cut_is_uncertain(self, score, flag):
        assert flag_of(score) is flag

    def test_no_score_has_a_flag_of_its_own(self, session):
        assert flag_of(None) is Flag.UNSCORED
        assert are_flagged(Flag.UNSCORED, np.array([np.nan, 0.5])).tolist() == [True, False]
        assert session.scalar(select(is_flagged(Flag.UNSCORED, null())))

    @pytest.mark.parametrize("flag", [Flag.KNOWN, Flag.UNCERTAIN, Flag.NEW])
    def test_arrays_and_columns_follow_the_same_rule(self, session, flag):
        scores = np.array([score for score, _ in self.CASES], np.float32)
        expected = [expected is flag for _, expected in self.CASES]
        assert are_flagged(flag, scores).tolist() == expected
        columns = [is_flagged(flag, literal(float(score), REAL)) for score in scores]
        assert list(session.execute(select(*columns)).one()) == expected
