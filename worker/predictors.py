"""Predictions of single images: the loops beside the network that answer the web process.

Batches form by themselves: a loop takes the first request as soon as it comes and with it whatever else
waits by then. There is no waiting window, so one client alone is answered as fast as the network allows.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import structlog
from redis import Redis, RedisError
from sqlalchemy import select
from sqlalchemy.orm import Session

from model.arrays import U8
from model.images import PictureError
from model.recogniser import CheckpointError
from server.database import session_scope
from server.predictions.wire import (
    HEARTBEAT,
    HEARTBEAT_SECONDS,
    INTERNAL_ERROR,
    NO_VERSION,
    OTHER_FEATURES,
    REPLY_SECONDS,
    REQUESTS,
    PredictFailure,
    PredictReply,
    PredictRequest,
    decode_request,
    encode_reply,
    reply_key,
)
from server.tables import ModelVersion, Project, VersionStatus
from worker.engine import Engine, OtherFeatures
from worker.pictures import open_new
from worker.recognition import Current, rounded

logger = structlog.get_logger()

# Requests that one loop answers together: as many as the network takes at once at its best.
MOST_TOGETHER = 8
WAIT_SECONDS = 1
RETRY_SECONDS = 0.5
NO_VERSION_MESSAGE = (
    "Nothing has been scored in this project yet. Upload images or train a version, then ask again."
)
FAILURE = PredictFailure(
    INTERNAL_ERROR, "The prediction failed on our side. Ask again; the worker's log says more."
)


class Predictors:
    """Loops that answer requests, and the sign of life that tells the web process of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Load the network, then answer from as many loops as forward passes run at once."""
        self._engine.extractor  # noqa: B018  (loaded before the sign of life says that we answer)
        loops = [self._answer] * self._engine.settings.worker_threads
        for at, run in enumerate([self._beat, *loops]):
            thread = threading.Thread(target=run, name=f"predictor-{at}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish what has been taken and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> Redis:
        return Redis.from_url(self._engine.settings.redis_url)

    def _beat(self) -> None:
        with self._connect() as redis:
            while not self._stop.is_set():
                with suppress(RedisError):
                    redis.set(HEARTBEAT, 1, ex=HEARTBEAT_SECONDS)
                self._stop.wait(HEARTBEAT_SECONDS / 3)
            with suppress(RedisError):
                redis.delete(HEARTBEAT)

    def _answer(self) -> None:
        with self._connect() as redis:
            while not self._stop.is_set():
                try:
                    if messages := take(redis):
                        answer(self._engine, redis, messages)
                except RedisError as error:
                    logger.warning("predictor_waits_for_redis", error=str(error))
                    self._stop.wait(RETRY_SECONDS)
                except Exception:  # the loop outlives what it asks; those in hand run into their deadline
                    logger.exception("predictor_failed")


def take(redis: Redis) -> list[bytes]:
    """The next request and what waits behind it; empty after a while without any."""
    first = redis.blpop([REQUESTS], timeout=WAIT_SECONDS)
    if first is None:
        return []
    more = redis.lpop(REQUESTS, MOST_TOGETHER - 1) or []
    return [first[1], *more]


@dataclass(frozen=True)
class _Opened:
    """A request with its picture, ready for the network. The picture as decoded, which may take hundreds of
    MB, is let go: ``width`` and ``height`` are its size."""

    request: PredictRequest
    project_id: uuid.UUID
    pixels: U8
    width: int
    height: int
    notes: tuple[str, ...]


def answer(engine: Engine, redis: Redis, messages: Sequence[bytes]) -> None:
    """Answer requests together. A bad one gets its own failure and spoils no other."""
    replies: dict[str, PredictReply | PredictFailure] = {}
    opened = []
    now = time.time()
    for message in messages:
        request = _decode(message)
        if request is None or request.deadline < now:
            continue
        found = _open(engine, request)
        if isinstance(found, PredictFailure):
            replies[request.id] = found
        else:
            opened.append(found)
    try:
        replies |= _predict(engine, opened)
    except Exception:
        logger.exception("prediction_failed", images=len(opened))
        replies |= {one.request.id: FAILURE for one in opened}
    with redis.pipeline(transaction=False) as pipeline:
        for request_id, reply in replies.items():
            pipeline.rpush(reply_key(request_id), _encode(reply))
            pipeline.expire(reply_key(request_id), REPLY_SECONDS)
        pipeline.execute()


def _decode(message: bytes) -> PredictRequest | None:
    """The request; None if nobody can tell whom to answer."""
    try:
        return decode_request(message)
    except Exception:  # bytes of another release, or of anybody, may raise anything
        logger.exception("request_unreadable", bytes=len(message))
        return None


def _encode(reply: PredictReply | PredictFailure) -> bytes:
    try:
        return encode_reply(reply)
    except ValueError:  # a figure that is no number
        logger.exception("reply_not_finite")
        return encode_reply(FAILURE)


def _open(engine: Engine, request: PredictRequest) -> _Opened | PredictFailure:
    try:
        project_id = uuid.UUID(request.project_id)
        picture, image = open_new(request.image, engine.settings.max_image_megapixels * 1_000_000)
        pixels = engine.extractor.preprocess(image)
    except PictureError as error:
        return PredictFailure(error.code, error.message)
    except Exception:  # no memory for this picture, or anything that its bytes bring about
        logger.exception("request_failed", bytes=len(request.image))
        return FAILURE
    return _Opened(request, project_id, pixels, picture.width, picture.height, picture.notes)


def _predict(engine: Engine, opened: Sequence[_Opened]) -> dict[str, PredictReply | PredictFailure]:
    if not opened:
        return {}
    currents = _find_currents(engine, {one.project_id for one in opened})
    features = rounded(engine.extractor.extract(np.stack([one.pixels for one in opened])))
    replies: dict[str, PredictReply | PredictFailure] = {}
    for one, row in zip(opened, features, strict=True):
        current = currents.get(one.project_id)
        replies[one.request.id] = (
            _reply(current, one, current.embed(row[None]))
            if isinstance(current, Current)
            else current or PredictFailure(NO_VERSION, NO_VERSION_MESSAGE)
        )
    return replies


def _find_currents(engine: Engine, project_ids: set[uuid.UUID]) -> dict[uuid.UUID, Current | PredictFailure]:
    """The active version of each project that has one, or why it cannot answer here; by one query unless a
    memory has changed."""
    statement = (
        select(ModelVersion, Project.temperature)
        .join(Project, Project.id == ModelVersion.project_id)
        .where(ModelVersion.project_id.in_(project_ids), ModelVersion.status == VersionStatus.ACTIVE)
    )
    with session_scope(engine.url) as session:
        return {
            version.project_id: _find_current(engine, session, version, temperature)
            for version, temperature in session.execute(statement)
        }


def _find_current(
    engine: Engine, session: Session, version: ModelVersion, temperature: float
) -> Current | PredictFailure:
    try:
        engine.require_features_of(version)
    except OtherFeatures as error:
        logger.warning("version_of_another_device", version_id=str(version.id), error=str(error))
        return PredictFailure(OTHER_FEATURES, str(error))
    try:
        return engine.recognition.current(session, version, temperature)
    except CheckpointError:
        logger.exception("checkpoint_unreadable", version_id=str(version.id))
        return FAILURE


def _reply(current: Current, one: _Opened, v: np.ndarray) -> PredictReply:
    """The answer for one image, v f32[1,D]."""
    found = current.recogniser.predict(v, current.memory, top_k=one.request.top_k)
    names, limits = current.memory.categories, current.memory.limits
    return PredictReply(
        top=[(names[k], float(p)) for k, p in zip(found.order[0], found.probabilities[0], strict=True)],
        nearest=[
            (names[k], float(gap), float(limits[k]))
            for k, gap in zip(found.nearest[0], found.distances[0], strict=True)
        ],
        is_known=bool(found.is_known[0]),
        unknown_score=float(found.unknown_score[0]),
        openness=float(found.openness[0]),
        informativeness=float(found.informativeness[0]),
        free_energy=float(found.free_energy[0]),
        model_version_id=str(current.version_id),
        version_number=current.number,
        memory_revision=current.revision,
        width=one.width,
        height=one.height,
        notes=list(one.notes),
    )
