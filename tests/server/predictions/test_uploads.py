"""Act 7: base64 as clients really write it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import InvalidInput
from server.predictions.uploads import decode_base64


class TestDecodeBase64:
    @given(
        st.binary(min_size=1, max_size=300),
        st.sampled_from(["", "data:image/png;base64,", "DATA:image/jpeg;name=a.jpg;base64,"]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    )
    def test_every_way_of_writing_it_gives_the_same_bytes(self, image, prefix, breaks, padded, url_safe):
        encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
        text = encode(image).decode()
        if not padded:
            text = text.rstrip("=")
        if breaks:
            text = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)) + "\n"
        assert decode_base64(prefix + text) == image

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("iVBORw0KGgo!", "character 12 is '!'"),
            ("iVBOR", "its end is missing"),
            ("data:image/svg+xml,%3Csvg%3E", "not in base64"),
            ("http://example.org/cat.jpg", "character 5 is ':'"),
            ("aGVsbG8=aGVsbG8=", "character 8 is '='"),
            ("aGVsbG8é", "character 8 is 'é'"),
        ],
    )
    def test_broken_text_is_refused_with_the_place(self, text, says):
        with pytest.raises(InvalidInput) as told:
            decode_base64(text)
        assert told.value.code == "broken-base64"
        assert says in told.value.message
