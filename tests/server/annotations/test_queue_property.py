"""Whatever people do in whatever order, the queue and the journal of answers stay in step."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pool import Pool
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from server.annotations import queries, service
from server.annotations.consensus import label_of
from server.annotations.labels import opinions_of
from server.annotations.service import Answer
from server.database import engine_for
from server.errors import Conflict
from server.tables import Annotation, AnnotationTask, Image, TaskState, Verdict

PEOPLE, IMAGES = 2, 2
VERDICTS = [Verdict.CANNOT_TELL, Verdict.NOT_OF_INTEREST, Verdict.BAD_IMAGE]

person = st.integers(0, PEOPLE - 1)
which = st.integers(0, 9)
acts = st.lists(
    st.tuples(st.just("claim"), person, st.booleans())
    | st.tuples(st.just("submit"), which, st.sampled_from(VERDICTS))
    | st.tuples(st.sampled_from(["skip", "release", "renew"]), which)
    | st.tuples(st.sampled_from(["undo", "take_over"]), person)
    | st.tuples(st.sampled_from(["expire", "free"])),
    min_size=20,
    max_size=30,
)


@dataclass
class Play:
    """People at the queue. ``hands`` are all holds that were ever given out, live or not."""

    pool: Pool
    people: list
    hands: list = field(default_factory=list)
    journal: list = field(default_factory=list)

    @property
    def session(self):
        return self.pool.session

    def run(self, name, *arguments):
        getattr(self, name)(*arguments)
        self.session.flush()
        self.check()

    def claim(self, who, with_tab):
        user, tab = self.people[who]
        free = [task for task in self.pool.tasks() if not self.is_live(task) and task.state != "DONE"]
        mine = [task.id for task in self.pool.tasks() if task.lease_holder == tab]
        task = service.claim_next(self.session, self.pool.project, user, tab if with_tab else None)["task"]
        if task is None:
            assert free == []
            return
        task_id = UUID(task["id"])
        assert task_id in {one.id for one in free} or (with_tab and task_id in mine)
        self.hands.append((user, task_id, UUID(task["token"])))

    def submit(self, number, verdict):
        if not (hand := self.hand(number)):
            return
        user, task_id, token = hand
        is_last = [other for other in self.hands if other[1] == task_id][-1] == hand
        is_done = self.session.get(AnnotationTask, task_id).state is TaskState.DONE
        with suppress(Conflict):
            receipt = service.submit(self.session, self.pool.project, user, task_id, token, Answer(verdict))
            assert receipt.is_repeated or receipt.is_late == (is_done or not is_last)

    def skip(self, number):
        if hand := self.hand(number):
            service.skip(self.session, self.pool.project, *hand)

    def release(self, number):
        if hand := self.hand(number):
            service.release(self.session, self.pool.project, *hand)

    def renew(self, number):
        if hand := self.hand(number):
            with suppress(Conflict):
                service.renew(self.session, self.pool.project, *hand)

    def undo(self, who):
        user, tab = self.people[who]
        with suppress(Conflict):
            task = service.undo(self.session, self.pool.project, user, tab)["task"]
            self.hands.append((user, UUID(task["id"]), UUID(task["token"])))

    def expire(self):
        self.session.execute(
            update(AnnotationTask)
            .where(AnnotationTask.project_id == self.pool.project.id)
            .values(lease_expires_at=func.now() - timedelta(minutes=1))
        )

    def take_over(self, who):
        """Rare by chance: all holds run out, and the next claim gets what somebody else had."""
        self.expire()
        self.free()
        self.claim(who, False)

    def free(self):
        service.free_expired(self.session)

    def hand(self, number):
        return self.hands[number % len(self.hands)] if self.hands else None

    def is_live(self, task):
        now = self.session.scalar(select(func.now()))
        return task.state is TaskState.LEASED and task.lease_expires_at >= now

    def check(self):
        tasks = self.pool.tasks()
        assert len(tasks) == IMAGES
        assert all(task.lease_token for task in tasks if task.state is TaskState.LEASED)
        standing = queries.list_standing(self.session, [task.image_id for task in tasks])
        by_image = {
            task.image_id: [one for one in standing if one.image_id == task.image_id] for task in tasks
        }
        for task in tasks:
            said = by_image[task.image_id]
            assert len(said) == (1 if task.state is TaskState.DONE else 0)
            image = self.session.get(Image, task.image_id, populate_existing=True)
            assert image.verdict == label_of(opinions_of(said)).verdict
        self.check_journal()

    def check_journal(self):
        rows = self.session.execute(
            select(Annotation.id, Annotation.verdict, Annotation.is_current, Annotation.withdraws_id)
            .where(Annotation.project_id == self.pool.project.id)
            .order_by(Annotation.created_at, Annotation.id)
        ).all()
        assert set(self.journal) <= set(rows)
        withdrawn = [row.withdraws_id for row in rows if row.withdraws_id]
        assert len(withdrawn) == len(set(withdrawn))
        self.journal = rows


class TestAnyOrder:
    @given(acts)
    @hypothesis_settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    def test_queue_and_journal_agree(self, settings, steps):
        with engine_for(settings.database_url).connect() as connection, Session(connection) as session:
            pool = Pool(session)
            pool.queue(IMAGES)
            play = Play(pool, [(pool.person().user, uuid4()) for _ in range(PEOPLE)])
            for step in steps:
                play.run(*step)
