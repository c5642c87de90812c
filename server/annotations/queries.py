"""The queue and the journal of judgements in SQL.

The claim is the hot path: few statements, plain rows, one index. Its order is that of
``ix_annotation_tasks_queue``; ``SKIP LOCKED`` lets any number of people claim at once.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, TextClause, bindparam, exists, func, select, text, update
from sqlalchemy.orm import Session, aliased

from server.annotations.consensus import Label
from server.predictions.flags import Flag, is_flagged
from server.tables import (
    Annotation,
    AnnotationTask,
    Embedding,
    Image,
    LabelSource,
    ModelVersion,
    Prediction,
    TaskState,
    VersionStatus,
)

# Counting a long queue takes longer than serving it, so counts on the hot path stop here.
WAITING_CAP = 1000
UPCOMING = 3
SUGGESTIONS = 5

_LEASE = """
    UPDATE annotation_tasks
    SET state = 'LEASED', lease_owner_id = :user_id, lease_holder = CAST(:holder AS uuid),
        lease_token = :token, lease_expires_at = now() + make_interval(secs => :hold_seconds)
"""
_NOT_SKIPPED = "NOT EXISTS (SELECT FROM task_skips s WHERE s.task_id = t.id AND s.user_id = :user_id)"
_HEAD = """
    SELECT t.id FROM annotation_tasks t
    WHERE t.project_id = :project_id AND t.state = 'OPEN' {condition}
    ORDER BY t.priority DESC, t.id LIMIT 1 FOR UPDATE OF t SKIP LOCKED
"""
CLAIM_HEAD = text(f"{_LEASE} WHERE id = ({_HEAD.format(condition=f'AND {_NOT_SKIPPED}')}) RETURNING id")
CLAIM_SKIPPED = text(f"{_LEASE} WHERE id = ({_HEAD.format(condition='')}) RETURNING id")
CLAIM_EXPIRED = text(f"""
    {_LEASE} WHERE id = (
        SELECT t.id FROM annotation_tasks t
        WHERE t.project_id = :project_id AND t.state = 'LEASED' AND t.lease_expires_at < now()
        ORDER BY t.lease_expires_at LIMIT 1 FOR UPDATE OF t SKIP LOCKED)
    RETURNING id
""")
RENEW_OF_HOLDER = text("""
    UPDATE annotation_tasks SET lease_expires_at = now() + make_interval(secs => :hold_seconds)
    WHERE project_id = :project_id AND state = 'LEASED' AND lease_owner_id = :user_id
      AND lease_holder = :holder
    RETURNING id
""")


_QUEUE = "hashtextextended(CAST(CAST(:project_id AS uuid) AS text), 2)"


def prepare_claim(
    session: Session, project_id: uuid.UUID, *, durable: bool, holder: uuid.UUID | None
) -> None:
    """Let claims of one holder follow one another, and all of them a head of the queue that is being
    written; unless ``durable``, spare the disk flush.

    A hold that a crash forgets has only ended early.
    """
    steps = [
        f"pg_advisory_xact_lock_shared({_QUEUE})",
        # For the capped count: a bitmap reads the index to its end, with all that re-ranking left in it.
        "set_config('enable_bitmapscan', 'off', true)",
    ]
    if not durable:
        steps.append("set_config('synchronous_commit', 'off', true)")
    if holder is not None:
        steps.append("pg_advisory_xact_lock(hashtextextended(CAST(CAST(:holder AS uuid) AS text), 0))")
    values = {"project_id": project_id} | ({"holder": holder} if holder else {})
    session.execute(text(f"SELECT {', '.join(steps)}"), values)


def hold_claims(session: Session, project_id: uuid.UUID) -> None:
    """Let claims wait until this transaction has written the head of the queue: they pass over rows that
    somebody writes, so they would be given what lies behind it."""
    session.execute(text(f"SELECT pg_advisory_xact_lock({_QUEUE})"), {"project_id": project_id})


def lock_journal_of(session: Session, project_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """Let acts of one person in a project that look back at their last one follow one another."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"), {"key": f"{project_id} {user_id}"}
    )


def execute_claim(session: Session, statement: TextClause, **values: Any) -> uuid.UUID | None:
    """Run one of the claim statements; the id of the task that is held now, or None."""
    task_id: uuid.UUID | None = session.scalar(statement, values)
    return task_id


_CARD = text(f"""
    SELECT t.id, t.lease_token, t.lease_expires_at, t.is_control, t.reason,
           EXTRACT(epoch FROM t.lease_expires_at - now())::float AS seconds_left,
           i.id AS image_id, i.name AS image_name, i.width, i.height, b.id AS batch_id, b.name AS batch_name,
           v.number AS version_number, p.memory_revision, p.unknown_score, p.openness,
           p.informativeness, p.free_energy, p.top, n.name AS nearest_name,
           (SELECT jsonb_agg(s ORDER BY s.distance) FROM (
                SELECT c.id AS category_id, c.name, m.count, m.usual_limit, m.exemplar_image_id,
                       m.centroid <-> e.vector::vector AS distance
                FROM class_memory m JOIN categories c ON c.id = m.category_id
                WHERE m.model_version_id = v.id AND e.vector IS NOT NULL AND c.status <> 'RETIRED'
                ORDER BY distance, c.id LIMIT {SUGGESTIONS}) s) AS suggestions
    FROM annotation_tasks t
    JOIN images i ON i.id = t.image_id
    JOIN batches b ON b.id = i.batch_id
    LEFT JOIN model_versions v ON v.project_id = t.project_id AND v.status = 'ACTIVE'
    LEFT JOIN predictions p ON p.model_version_id = v.id AND p.image_id = i.id
    LEFT JOIN embeddings e ON e.model_version_id = v.id AND e.image_id = i.id
    LEFT JOIN categories n ON n.id = CAST(t.reason ->> 'nearest_id' AS uuid)
    WHERE t.id = :task_id AND t.project_id = :project_id
""")


def find_card(session: Session, project_id: uuid.UUID, task_id: uuid.UUID) -> Row[Any] | None:
    """All that the page shows of a task: image, reason, scores, suggestions nearest by picture."""
    return session.execute(_CARD, {"project_id": project_id, "task_id": task_id}).one_or_none()


_OUTLOOK = text(f"""
    SELECT (SELECT count(*) FROM (
                SELECT FROM annotation_tasks WHERE project_id = :project_id AND state = 'OPEN'
                LIMIT {WAITING_CAP}) capped) AS waiting,
           (SELECT count(*) FROM annotation_tasks
            WHERE project_id = :project_id AND state = 'LEASED' AND lease_expires_at >= now()
              AND lease_owner_id IS DISTINCT FROM :user_id) AS held_by_others,
           ARRAY(SELECT t.image_id FROM annotation_tasks t
                 WHERE t.project_id = :project_id AND t.state = 'OPEN' AND {_NOT_SKIPPED}
                 ORDER BY t.priority DESC, t.id LIMIT {UPCOMING}) AS upcoming
""")


def get_outlook(session: Session, project_id: uuid.UUID, user_id: uuid.UUID) -> Row[Any]:
    """What else waits: count up to ``WAITING_CAP``, how many others hold, the images that come next."""
    return session.execute(_OUTLOOK, {"project_id": project_id, "user_id": user_id}).one()


def find_task(session: Session, project_id: uuid.UUID, task_id: uuid.UUID) -> AnnotationTask | None:
    """The task, if it is one of the project's."""
    return session.scalars(
        select(AnnotationTask).where(AnnotationTask.id == task_id, AnnotationTask.project_id == project_id)
    ).one_or_none()


# What every answer asks is put together once.
_TASK_LOCKED = (
    select(AnnotationTask)
    .where(
        AnnotationTask.id == bindparam("task_id"),
        AnnotationTask.project_id == bindparam("project_id"),
    )
    .with_for_update()
    .execution_options(populate_existing=True)
)
_IMAGE_LOCKED = (
    select(Image)
    .where(Image.id == bindparam("image_id"))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
_BY_TOKEN = select(Annotation).where(Annotation.lease_token == bindparam("token"))


def find_task_locked(session: Session, project_id: uuid.UUID, task_id: uuid.UUID) -> AnnotationTask | None:
    """The task as it is in the database now, locked."""
    return session.scalar(_TASK_LOCKED, {"task_id": task_id, "project_id": project_id})


def get_image_locked(session: Session, image_id: uuid.UUID) -> Image:
    """The image as it is in the database now, locked. Lock its task first, as everybody does."""
    return session.scalars(_IMAGE_LOCKED, {"image_id": image_id}).one()


def free_holder(session: Session, project_id: uuid.UUID, user_id: uuid.UUID, holder: uuid.UUID) -> None:
    """Give back what a holder holds."""
    session.execute(
        update(AnnotationTask)
        .where(
            AnnotationTask.project_id == project_id,
            AnnotationTask.state == TaskState.LEASED,
            AnnotationTask.lease_owner_id == user_id,
            AnnotationTask.lease_holder == holder,
        )
        .values(state=TaskState.OPEN)
        .execution_options(synchronize_session="fetch")
    )


def free_expired(session: Session) -> int:
    """Give back every task whose hold has run out; who holds it no longer is kept, for a late answer."""
    freed = session.scalars(
        update(AnnotationTask)
        .where(AnnotationTask.state == TaskState.LEASED, AnnotationTask.lease_expires_at < func.now())
        .values(state=TaskState.OPEN)
        .returning(AnnotationTask.id)
        .execution_options(synchronize_session=False)
    )
    return len(freed.all())


def add_skip(session: Session, task_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """Remember that a person passed the task on."""
    session.execute(
        text(
            "INSERT INTO task_skips (task_id, user_id, created_at) VALUES (:task_id, :user_id, now()) "
            "ON CONFLICT DO NOTHING"
        ),
        {"task_id": task_id, "user_id": user_id},
    )


_withdrawal = aliased(Annotation)
_STANDS = (
    Annotation.verdict.is_not(None),
    Annotation.is_current,
    ~exists().where(_withdrawal.withdraws_id == Annotation.id),
)


def find_by_token(session: Session, token: uuid.UUID) -> Annotation | None:
    """The judgement that was sent under a hold."""
    return session.scalar(_BY_TOKEN, {"token": token})


def find_latest_of(session: Session, project_id: uuid.UUID, user_id: uuid.UUID) -> Annotation | None:
    """A person's latest judgement that still stands and came through the queue."""
    return session.scalars(
        select(Annotation)
        .where(
            Annotation.project_id == project_id,
            Annotation.annotator_id == user_id,
            Annotation.source == LabelSource.HUMAN,
            Annotation.task_id.is_not(None),
            *_STANDS,
        )
        .order_by(Annotation.created_at.desc())
        .limit(1)
    ).one_or_none()


def list_standing(session: Session, image_ids: Sequence[uuid.UUID]) -> Sequence[Annotation]:
    """Judgements of these images that stand, in the order in which they came."""
    return session.scalars(
        select(Annotation)
        .where(Annotation.image_id.in_(image_ids), *_STANDS)
        .order_by(Annotation.created_at, Annotation.id)
    ).all()


def lock_images(
    session: Session, project_id: uuid.UUID, image_ids: Sequence[uuid.UUID]
) -> tuple[dict[uuid.UUID, AnnotationTask], dict[uuid.UUID, Image]]:
    """Tasks by image and images by id, locked in the order in which everybody locks them."""
    tasks = session.scalars(
        select(AnnotationTask)
        .where(AnnotationTask.image_id.in_(image_ids), AnnotationTask.project_id == project_id)
        .order_by(AnnotationTask.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    by_image = {task.image_id: task for task in tasks}
    images = session.scalars(
        select(Image)
        .where(Image.id.in_(image_ids), Image.project_id == project_id)
        .order_by(Image.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return by_image, {image.id: image for image in images}


def list_embedded(session: Session, project_id: uuid.UUID, image_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the images that the active version has in its space."""
    return set(
        session.scalars(
            select(Embedding.image_id)
            .join(ModelVersion, ModelVersion.id == Embedding.model_version_id)
            .where(
                ModelVersion.project_id == project_id,
                ModelVersion.status == VersionStatus.ACTIVE,
                Embedding.image_id.in_(image_ids),
            )
        )
    )


def has_images(session: Session, category_id: uuid.UUID) -> bool:
    """Whether any image is labelled with the category."""
    return bool(session.scalar(select(exists().where(Image.category_id == category_id))))


def count_queue(session: Session, project_id: uuid.UUID) -> Row[int, int, int]:
    """Waiting images: how many, and of these the new and the uncertain ones under the active version."""
    score = Prediction.unknown_score
    statement = (
        select(
            func.count().label("waiting"),
            func.count().filter(is_flagged(Flag.NEW, score)).label("new"),
            func.count().filter(is_flagged(Flag.UNCERTAIN, score)).label("uncertain"),
        )
        .select_from(AnnotationTask)
        .outerjoin(
            ModelVersion,
            (ModelVersion.project_id == AnnotationTask.project_id)
            & (ModelVersion.status == VersionStatus.ACTIVE),
        )
        .outerjoin(
            Prediction,
            (Prediction.model_version_id == ModelVersion.id)
            & (Prediction.image_id == AnnotationTask.image_id),
        )
        .where(AnnotationTask.project_id == project_id, AnnotationTask.state == TaskState.OPEN)
    )
    return session.execute(statement).one()


def count_held(session: Session, project_id: uuid.UUID) -> int:
    """Images that somebody holds now."""
    return (
        session.scalar(
            select(func.count())
            .select_from(AnnotationTask)
            .where(
                AnnotationTask.project_id == project_id,
                AnnotationTask.state == TaskState.LEASED,
                AnnotationTask.lease_expires_at >= func.now(),
            )
        )
        or 0
    )


def count_labelled(
    session: Session, project_id: uuid.UUID, user_id: uuid.UUID, since: datetime
) -> tuple[int, int]:
    """Judgements of people that stand since a moment: of all, and of one person."""
    total, mine = session.execute(
        select(func.count(), func.count().filter(Annotation.annotator_id == user_id)).where(
            Annotation.project_id == project_id,
            Annotation.created_at >= since,
            Annotation.source == LabelSource.HUMAN,
            *_STANDS,
        )
    ).one()
    return total, mine


def add_annotation(
    session: Session,
    task: AnnotationTask,
    annotator_id: uuid.UUID,
    label: Label,
    *,
    token: uuid.UUID,
    is_current: bool,
) -> Annotation:
    """Write a person's judgement into the journal."""
    annotation = Annotation(
        project_id=task.project_id,
        image_id=task.image_id,
        task_id=task.id,
        annotator_id=annotator_id,
        source=LabelSource.HUMAN,
        verdict=label.verdict,
        category_id=label.category_id,
        is_current=is_current,
        lease_token=token,
    )
    session.add(annotation)
    session.flush()
    return annotation
