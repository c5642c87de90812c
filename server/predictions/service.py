"""One image in, what the current model says of it out, through the predictor loop beside the model."""

import threading
import time
import uuid
from typing import Any

from redis import Redis, RedisError
from sqlalchemy.orm import Session

from model.images import Fault, PictureError, open_picture
from server.errors import Conflict, InvalidInput, NewfoundError, TooLarge, Unavailable
from server.predictions import queries
from server.predictions.flags import Flag, flag_of
from server.predictions.uploads import UnsupportedContent
from server.predictions.wire import (
    HEARTBEAT,
    INTERNAL_ERROR,
    NO_VERSION,
    OTHER_FEATURES,
    REQUESTS,
    PredictFailure,
    PredictReply,
    decode_reply,
    encode_request,
    new_request,
    reply_key,
)
from server.settings import Settings

NEAREST = 5
# Each waiting prediction holds a thread of the web process; the others must stay free for annotators.
WAITING_HERE = threading.BoundedSemaphore(32)
# Answers in one round trip whether somebody lives (-1: no), has room (0: no) and takes the request (1).
_APPEND = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[1]) then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[2])
return 1
"""
_UNSUPPORTED = (Fault.NOT_AN_IMAGE, Fault.UNSUPPORTED_FORMAT)
_TOO_LARGE = (Fault.TOO_LARGE, Fault.TOO_MANY_PIXELS)


def ask(
    redis: Redis, settings: Settings, project_id: uuid.UUID, image: bytes, top_k: int
) -> PredictReply | None:
    """What the active version says of the image; None where nothing in the project was ever scored.

    Waits for up to ``predict_deadline_seconds``; hold no transaction meanwhile.

    Raises:
        Unavailable: no predictor lives, too many wait, or the deadline has passed.
        Conflict: the version was made on another kind of device than the predictor runs on.
        UnsupportedContent, TooLarge, InvalidInput: the bytes give no picture, with the decoder's code.
    """
    if not WAITING_HERE.acquire(blocking=False):
        raise _full()
    try:
        reply = _exchange(redis, settings, project_id, image, top_k)
    finally:
        WAITING_HERE.release()
    if isinstance(reply, PredictReply):
        return reply
    if reply.code == NO_VERSION:
        return None
    if reply.code == INTERNAL_ERROR:
        raise Unavailable(reply.message)
    if reply.code == OTHER_FEATURES:
        raise Conflict(reply.message, code=reply.code)
    raise picture_error(reply.code, reply.message)


def _exchange(
    redis: Redis, settings: Settings, project_id: uuid.UUID, image: bytes, top_k: int
) -> PredictReply | PredictFailure:
    deadline = settings.predict_deadline_seconds
    request = new_request(project_id, image, top_k, deadline)
    started = time.monotonic()
    try:
        taken = redis.eval(
            _APPEND, 2, HEARTBEAT, REQUESTS, settings.predict_queue_limit, encode_request(request)
        )
        if taken == -1:
            raise Unavailable(
                "No predictor is running, so nothing can be predicted now. Start a worker, or wait until "
                "it is up again.",
                retry_after=5,
            )
        if taken == 0:
            raise _full()
        left = max(deadline - (time.monotonic() - started), 0.001)
        message = redis.blpop([reply_key(request.id)], timeout=left)
    except RedisError as error:
        raise Unavailable("Redis does not answer, so nothing can be predicted now.", retry_after=5) from error
    if message is None:
        raise Unavailable(
            f"No prediction within {deadline:g} s: the predictor is busy. Ask again, or fewer at once."
        )
    return decode_reply(message[1])


def _full() -> Unavailable:
    return Unavailable(
        "Too many predictions wait already. Ask again in a moment, or fewer at once.", retry_after=1
    )


def picture_error(code: str, message: str) -> NewfoundError:
    """The decoder's finding as an error of the API, under the decoder's own code."""
    if code in _UNSUPPORTED:
        return UnsupportedContent(message, code=code)
    if code in _TOO_LARGE:
        return TooLarge(message, code=code)
    return InvalidInput(message, code=code)


def describe(session: Session, project_id: uuid.UUID, reply: PredictReply) -> dict[str, Any]:
    """A reply as the API gives it, with the categories' present names."""
    ids = {category for category, _ in reply.top} | {category for category, _, _ in reply.nearest}
    names = queries.category_names(session, project_id, ids)
    return {
        "top": [
            {"category_id": category, "name": names[category], "probability": probability}
            for category, probability in reply.top
            if category in names
        ],
        "nearest": [
            {"category_id": category, "name": names[category], "distance": distance, "usual_limit": limit}
            for category, distance, limit in reply.nearest[:NEAREST]
            if category in names
        ],
        "is_known": reply.is_known,
        "flag": flag_of(reply.unknown_score),
        "unknown_score": reply.unknown_score,
        "openness": reply.openness,
        "informativeness": reply.informativeness,
        "free_energy": reply.free_energy,
        "version_number": reply.version_number,
        "model_version_id": reply.model_version_id,
        "memory_revision": reply.memory_revision,
        "image": {"width": reply.width, "height": reply.height, "notes": reply.notes},
    }


def describe_unscored(image: bytes, max_megapixels: int) -> dict[str, Any]:
    """The answer of a project in which nothing was ever scored: nothing is known, so the image is new.

    Raises:
        UnsupportedContent, TooLarge, InvalidInput: the bytes give no picture.
    """
    try:
        picture = open_picture(image, max_pixels=max_megapixels * 1_000_000, target=1)
    except PictureError as error:
        raise picture_error(error.code, error.message) from error
    return {
        "top": [],
        "nearest": [],
        "is_known": False,
        "flag": Flag.NEW,
        "unknown_score": 1.0,
        "openness": None,
        "informativeness": None,
        "free_energy": None,
        "version_number": None,
        "model_version_id": None,
        "memory_revision": None,
        "image": {"width": picture.width, "height": picture.height, "notes": list(picture.notes)},
    }


def has_predictor(redis: Redis) -> bool:
    """Whether a predictor loop lives."""
    return bool(redis.exists(HEARTBEAT))
