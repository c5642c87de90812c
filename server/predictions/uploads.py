"""The image of a prediction request: a file part, or base64 in JSON as clients really write it."""

import base64
import binascii
import json
import re
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from server.errors import InvalidInput, NewfoundError, TooLarge
from server.settings import MIB

MULTIPART = "multipart/form-data"
PART = "file"
_DATA_URL = re.compile(r"data:[^,]*?;base64,", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_TO_STANDARD_ALPHABET = str.maketrans("-_", "+/")


class UnsupportedContent(NewfoundError):
    """The body is of a kind that is not taken here."""

    status_code = 415
    code = "unsupported-content"


async def read_image(request: Request, limit_mib: int) -> bytes:
    """The bytes of the image in the request's body.

    Raises:
        UnsupportedContent: neither a form nor JSON.
        InvalidInput: no image in it, or broken base64.
        TooLarge: more than ``limit_mib``.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == MULTIPART:
        image = await _from_form(request, limit_mib)
    elif kind == "application/json":
        image = await run_in_threadpool(_from_json, await request.body())
    else:
        raise UnsupportedContent(
            f"Send the image as {MULTIPART} in a part named `{PART}`, or as JSON "
            '{"image": "<base64>"} with Content-Type: application/json.'
        )
    if not image:
        raise InvalidInput("The image is empty: 0 bytes arrived. Send the file itself.", code="empty-file")
    if len(image) > limit_mib * MIB:
        raise TooLarge(
            f"The image has {len(image) / MIB:.1f} MiB; at most {limit_mib} MiB are taken. Save it smaller.",
            limit_bytes=limit_mib * MIB,
        )
    return image


async def _from_form(request: Request, limit_mib: int) -> bytes:
    # A part without a file name counts as text; it must arrive whole for the answer to say so.
    async with request.form(max_files=1, max_fields=10, max_part_size=(limit_mib + 1) * MIB) as form:
        part = form.get(PART)
        if isinstance(part, UploadFile):
            return await part.read()
    if part is not None:
        raise InvalidInput(
            f"The part `{PART}` has no file name, so it was read as text. "
            'Add `filename="image.jpg"` to its Content-Disposition.',
            code="no-file-name",
        )
    raise InvalidInput(f"No part named `{PART}` in the form. Put the image into one.", code="no-file")


def _from_json(body: bytes) -> bytes:
    try:
        content: Any = json.loads(body)
    except ValueError as error:
        raise InvalidInput("The body is not valid JSON.") from error
    image = content.get("image") if isinstance(content, dict) else None
    if not isinstance(image, str):
        raise InvalidInput('The body must be {"image": "<base64>"}.', code="no-file")
    return decode_base64(image)


def decode_base64(text: str) -> bytes:
    """The bytes behind base64 with or without line breaks, ``data:`` prefix, padding, URL-safe letters.

    Raises:
        InvalidInput: ``broken-base64``.
    """
    digits = _SPACE.sub("", text)
    if digits[:5].lower() == "data:":
        prefix = _DATA_URL.match(digits)
        if prefix is None:
            raise InvalidInput(
                "`image` is a data: URL, but not in base64. Encode it as `data:image/jpeg;base64,…`.",
                code="broken-base64",
            )
        digits = digits[prefix.end() :]
    digits = digits.translate(_TO_STANDARD_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"`image` is not base64: {_fault(digits)} Encode the bytes of the file and send all of it.",
            code="broken-base64",
        ) from error


def _fault(digits: str) -> str:
    strange = re.search(r"[^A-Za-z0-9+/]", digits)
    if strange:
        return f"character {strange.start() + 1} is {strange[0]!r}."
    return "its end is missing."
