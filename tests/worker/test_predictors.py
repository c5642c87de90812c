"""One image is predicted beside the network, together with whatever else waits."""

import hashlib
import time
import uuid
from io import BytesIO

import pytest
from PIL import Image as Pictures
from redis import Redis
from sqlalchemy import select
from world import World, noise

from server.database import session_scope
from server.predictions.wire import (
    HEARTBEAT,
    INTERNAL_ERROR,
    NO_VERSION,
    OTHER_FEATURES,
    REQUESTS,
    PredictFailure,
    PredictReply,
    PredictRequest,
    decode_reply,
    encode_request,
    new_request,
    reply_key,
)
from server.tables import Image, ModelVersion, Project, VersionStatus
from worker.predictors import MOST_TOGETHER, Predictors, answer, take


def ask(world: World, *requests: PredictRequest) -> list[PredictReply | PredictFailure | None]:
    """Answers of one loop to requests that have come together; None where there is none."""
    redis: Redis = world.engine.redis
    redis.rpush(REQUESTS, *map(encode_request, requests))
    while redis.llen(REQUESTS):
        answer(world.engine, redis, take(redis))
    found = [redis.lpop(reply_key(request.id)) for request in requests]
    return [decode_reply(one) if one else None for one in found]


def request(world: World, image: bytes, top_k: int = 5, seconds: float = 60) -> PredictRequest:
    return new_request(world.project_id, image, top_k, seconds)


def photograph(seed: int, size: tuple[int, int] = (900, 700)) -> bytes:
    """A JPEG larger than the working copy."""
    buffer = BytesIO()
    Pictures.open(BytesIO(noise(seed))).resize(size).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


@pytest.fixture
def scored(world: World) -> World:
    """A project with two named pictures, one small and one large, and the version that knows them."""
    files = [noise(1), photograph(2), noise(3), noise(4)]
    images = world.pictures(world.batch(), files)
    world.work()
    for image, name in zip(images[:2], ("Cup", "Bowl"), strict=True):
        world.label(image, world.category(name))
    world.work()
    return world


class TestAnswer:
    @pytest.mark.parametrize("file", [noise(1), photograph(2), noise(3)])
    def test_is_what_the_same_file_gets_in_a_batch(self, scored: World, file: bytes) -> None:
        [reply] = ask(scored, request(scored, file))

        sha256 = hashlib.sha256(file).hexdigest()
        image_id = scored.rows(
            select(Image.id).where(Image.sha256 == sha256, Image.project_id == scored.project_id)
        )[0]
        stored = scored.predictions[image_id]
        assert isinstance(reply, PredictReply)
        for name in ("free_energy", "unknown_score", "openness", "informativeness"):
            assert getattr(reply, name) == pytest.approx(getattr(stored, name), abs=1e-5)
        assert reply.top[0] == (str(stored.category_id), pytest.approx(stored.confidence, abs=1e-5))

    def test_names_the_nearest_categories_with_their_usual_limits(self, scored: World) -> None:
        [reply] = ask(scored, request(scored, noise(1)))

        assert isinstance(reply, PredictReply)
        assert len(reply.nearest) == 2
        assert reply.nearest[0][0] == reply.top[0][0]
        assert reply.nearest[0][1] < reply.nearest[1][1]
        assert reply.is_known
        assert (reply.version_number, reply.memory_revision) == (1, 2)

    @pytest.mark.parametrize(("top_k", "listed"), [(1, 1), (2, 2), (50, 2)])
    def test_lists_as_many_categories_as_asked_or_as_there_are(
        self, scored: World, top_k: int, listed: int
    ) -> None:
        [reply] = ask(scored, request(scored, noise(1), top_k))

        assert isinstance(reply, PredictReply)
        assert len(reply.top) == listed

    def test_before_anything_is_scored_says_so(self, world: World) -> None:
        [reply] = ask(world, request(world, noise(1)))

        assert isinstance(reply, PredictFailure)
        assert reply.code == NO_VERSION

    def test_of_a_version_from_another_device_is_refused_with_the_mend(self, scored: World) -> None:
        with session_scope(scored.engine.url) as session:
            session.get_one(ModelVersion, scored.version.id).runtime_key = "torch-float16"

        [reply] = ask(scored, request(scored, noise(1)))

        assert isinstance(reply, PredictFailure)
        assert reply.code == OTHER_FEATURES
        assert "train again" in reply.message

    def test_follows_the_memory_at_once(self, scored: World) -> None:
        image = next(iter(scored.predictions))
        scored.label(image, scored.category("Plate"))
        scored.work()

        [reply] = ask(scored, request(scored, noise(1)))

        assert isinstance(reply, PredictReply)
        assert reply.memory_revision == scored.version.memory_revision > 2


class TestTogether:
    def test_a_bad_image_spoils_no_other(self, scored: World) -> None:
        good, bad, other = ask(
            scored,
            request(scored, noise(1)),
            request(scored, b"no image at all"),
            request(scored, noise(3)),
        )

        assert isinstance(good, PredictReply)
        assert isinstance(other, PredictReply)
        assert isinstance(bad, PredictFailure)
        assert bad.code == "not-an-image"

    def test_a_request_that_names_no_project_spoils_no_other(self, scored: World) -> None:
        strange = PredictRequest(uuid.uuid4().hex, "moths", 5, time.time() + 60, noise(1))
        bad, good = ask(scored, strange, request(scored, noise(1)))

        assert isinstance(bad, PredictFailure)
        assert bad.code == INTERNAL_ERROR
        assert isinstance(good, PredictReply)

    def test_a_project_whose_checkpoint_is_gone_spoils_no_other(self, scored: World) -> None:
        other = World(scored.engine)
        key = scored.engine.extractor.key
        other.add(
            ModelVersion(
                project_id=other.project_id,
                number=1,
                status=VersionStatus.ACTIVE,
                backbone="efficientnet_lite0",
                runtime_key=key,
            )
        )
        bad, good = ask(scored, request(other, noise(1)), request(scored, noise(1)))

        assert isinstance(bad, PredictFailure)
        assert bad.code == INTERNAL_ERROR
        assert isinstance(good, PredictReply)

    def test_a_figure_that_is_no_number_spoils_no_other(self, scored: World) -> None:
        other = World(scored.engine)
        other.pictures(other.batch(), [noise(1)])
        other.work()
        with session_scope(scored.engine.url) as session:
            session.get_one(Project, scored.project_id).temperature = float("nan")
        bad, good = ask(scored, request(scored, noise(1)), request(other, noise(1)))

        assert isinstance(bad, PredictFailure)
        assert bad.code == INTERNAL_ERROR
        assert isinstance(good, PredictReply)

    def test_the_answer_does_not_depend_on_the_company(self, scored: World) -> None:
        [alone] = ask(scored, request(scored, noise(1)))
        together = ask(scored, *(request(scored, noise(seed)) for seed in (3, 4, 1)))

        assert isinstance(alone, PredictReply)
        assert isinstance(together[2], PredictReply)
        assert together[2].unknown_score == pytest.approx(alone.unknown_score, abs=1e-5)

    def test_projects_do_not_mix(self, scored: World) -> None:
        other = World(scored.engine)
        mine, theirs = ask(scored, request(scored, noise(1)), request(other, noise(1)))

        assert isinstance(mine, PredictReply)
        assert isinstance(theirs, PredictFailure)

    def test_a_loop_takes_no_more_than_it_can_do_at_once(self, world: World) -> None:
        redis = world.engine.redis
        redis.rpush(REQUESTS, *[b"x"] * (MOST_TOGETHER + 3))

        assert (len(take(redis)), len(take(redis))) == (MOST_TOGETHER, 3)


class TestDeadline:
    def test_a_request_that_nobody_waits_for_is_dropped(self, scored: World) -> None:
        assert ask(scored, request(scored, noise(1), seconds=-1)) == [None]


class TestLoops:
    def test_outlive_what_is_no_request(self, scored: World) -> None:
        redis = scored.engine.redis
        threads = scored.engine.settings.worker_threads
        predictors = Predictors(scored.engine)
        predictors.start()
        try:
            for message in [b"no request", b'{"id": "x"}\n', b"\xff\n"] * threads:
                redis.rpush(REQUESTS, message)
            wanted = request(scored, noise(1))
            redis.rpush(REQUESTS, encode_request(wanted))
            reply = redis.blpop([reply_key(wanted.id)], timeout=20)
        finally:
            predictors.stop()

        assert reply
        assert isinstance(decode_reply(reply[1]), PredictReply)

    def test_give_a_sign_of_life_answer_and_end(self, scored: World) -> None:
        redis = scored.engine.redis
        predictors = Predictors(scored.engine)
        predictors.start()
        try:
            wanted = [request(scored, noise(1)) for _ in range(10)]
            redis.rpush(REQUESTS, *map(encode_request, wanted))
            replies = [redis.blpop([reply_key(one.id)], timeout=20) for one in wanted]
            assert all(isinstance(decode_reply(reply[1]), PredictReply) for reply in replies)
            assert redis.exists(HEARTBEAT)
        finally:
            predictors.stop()

        assert not redis.exists(HEARTBEAT)
        assert redis.ttl(reply_key(str(uuid.uuid4()))) == -2
