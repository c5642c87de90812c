"""The class memory of a model version: reading it, changing it, telling whether it is up to date."""

import uuid
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from server.exploration import bulk
from server.exploration.bulk import BIGINT, BOOLEAN, DOUBLE, INTEGER, UUID, Layout, halfvec, vector
from server.tables import (
    Category,
    CategoryStatus,
    ClassMemoryRow,
    Embedding,
    Image,
    ModelVersion,
    VersionStatus,
)

MEMORY_COLUMNS = "category_id, count, usual_limit, revision, centroid, weight, hallucinator"


def read_memory(session: Session, version_id: uuid.UUID, dim: int, *, after: int) -> bulk.Rows:
    """Memory rows of a version that changed after a revision, by category."""
    layout = Layout(
        {
            "category_id": UUID,
            "count": INTEGER,
            "usual_limit": DOUBLE,
            "revision": INTEGER,
            "centroid": vector(dim),
            "weight": vector(dim),
            "hallucinator": vector(dim),
        }
    )
    query = (
        f"SELECT {MEMORY_COLUMNS} FROM class_memory "
        "WHERE model_version_id = %(version)s AND revision > %(after)s ORDER BY category_id"
    )
    return bulk.read(session, layout, query, {"version": version_id, "after": after})


def list_remembered(session: Session, version_id: uuid.UUID) -> set[uuid.UUID]:
    """Categories that the version can name now."""
    statement = select(ClassMemoryRow.category_id).where(ClassMemoryRow.model_version_id == version_id)
    return set(session.scalars(statement))


def write_memory_row(session: Session, row: dict[str, Any]) -> None:
    """Add or replace a category's memory."""
    statement = insert(ClassMemoryRow).values(**row)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["model_version_id", "category_id"],
            set_={name: statement.excluded[name] for name in row},
        )
    )


def delete_memory_row(session: Session, version_id: uuid.UUID, category_id: uuid.UUID) -> None:
    """Forget a category that has no images any more."""
    session.execute(
        delete(ClassMemoryRow).where(
            ClassMemoryRow.model_version_id == version_id, ClassMemoryRow.category_id == category_id
        )
    )


_MEMBERS = """
    SELECT e.image_id, uuid_hash_extended(e.image_id, 0) AS hash, e.vector,
           i.category_id IS NOT DISTINCT FROM %(category)s AND c.status <> 'RETIRED' AS now,
           s.image_id IS NOT NULL AS trained
    FROM embeddings e JOIN images i ON i.id = e.image_id
    JOIN categories c ON c.id = %(category)s
    LEFT JOIN snapshot_labels s
      ON s.model_version_id = %(version)s AND s.image_id = e.image_id AND s.category_id = %(category)s
    WHERE e.model_version_id = %(version)s AND e.image_id IN (
        SELECT id FROM images WHERE category_id = %(category)s
        UNION SELECT image_id FROM snapshot_labels
              WHERE model_version_id = %(version)s AND category_id = %(category)s)
"""


def read_members(session: Session, version_id: uuid.UUID, category_id: uuid.UUID, dim: int) -> bulk.Rows:
    """Images that belong to a category ``now`` or did when the version was ``trained``, with their v."""
    layout = Layout(
        {"image_id": UUID, "hash": BIGINT, "vector": halfvec(dim), "now": BOOLEAN, "trained": BOOLEAN}
    )
    return bulk.read(session, layout, _MEMBERS, {"version": version_id, "category": category_id})


def find_members_hash(session: Session, version_id: uuid.UUID, category_id: uuid.UUID) -> int | None:
    """The hash of the images behind a category's memory: the XOR of those of their ids, in any order.

    None if the category is not remembered.
    """
    statement = select(ClassMemoryRow.members_hash).where(
        ClassMemoryRow.model_version_id == version_id, ClassMemoryRow.category_id == category_id
    )
    return session.scalar(statement)


def list_outdated_memories(session: Session) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """(project, category) whose present images differ from those behind its memory in the active version."""
    members = (
        select(
            Image.project_id,
            Embedding.model_version_id,
            Image.category_id,
            func.bit_xor(_image_hash()).label("members_hash"),
        )
        .join(Embedding, Embedding.image_id == Image.id)
        .join(ModelVersion, ModelVersion.id == Embedding.model_version_id)
        .join(Category, Category.id == Image.category_id)
        .where(ModelVersion.status == VersionStatus.ACTIVE, Category.status != CategoryStatus.RETIRED)
        .group_by(Image.project_id, Embedding.model_version_id, Image.category_id)
        .subquery()
    )
    remembered = (
        select(
            ModelVersion.project_id,
            ClassMemoryRow.model_version_id,
            ClassMemoryRow.category_id,
            ClassMemoryRow.members_hash,
        )
        .join(ModelVersion, ModelVersion.id == ClassMemoryRow.model_version_id)
        .where(ModelVersion.status == VersionStatus.ACTIVE)
        .subquery()
    )
    statement = (
        select(
            func.coalesce(members.c.project_id, remembered.c.project_id),
            func.coalesce(members.c.category_id, remembered.c.category_id),
        )
        .select_from(members)
        .join(
            remembered,
            (members.c.category_id == remembered.c.category_id)
            & (members.c.model_version_id == remembered.c.model_version_id),
            full=True,
        )
        .where(func.coalesce(members.c.members_hash, 0).is_distinct_from(remembered.c.members_hash))
    )
    return [(project, category) for project, category in session.execute(statement)]


def _image_hash() -> Any:
    return func.uuid_hash_extended(Image.id, 0)
