"""Backbone features and embeddings of images, many at a time."""

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from server.exploration import bulk
from server.exploration.bulk import UUID, Layout, halfvec
from server.exploration.scores import Ids, Reals


def write_features(session: Session, runtime_key: str, image_ids: Ids, values: Reals) -> None:
    """Keep backbone features f32[N,F]. What is there already stays; images that are gone are left out."""
    statement = """
        INSERT INTO features (image_id, runtime_key, vector)
        SELECT s.image_id, :key, s.vector FROM staged_vectors s JOIN images i ON i.id = s.image_id
        ON CONFLICT DO NOTHING
    """
    _write(session, statement, {"key": runtime_key}, image_ids, values)


def write_embeddings(session: Session, version_id: uuid.UUID, image_ids: Ids, values: Reals) -> None:
    """Keep v f32[N,D] of a version. What is there already stays; images that are gone are left out."""
    statement = """
        INSERT INTO embeddings (model_version_id, image_id, vector)
        SELECT :version, s.image_id, s.vector FROM staged_vectors s JOIN images i ON i.id = s.image_id
        ON CONFLICT DO NOTHING
    """
    _write(session, statement, {"version": version_id}, image_ids, values)


def _write(
    session: Session, statement: str, parameters: dict[str, object], image_ids: Ids, values: Reals
) -> None:
    layout = Layout({"image_id": UUID, "vector": halfvec(values.shape[1])})
    rows = layout.empty(len(image_ids))
    rows["image_id"] = image_ids
    rows["vector"]["values"] = values
    with bulk.staged(session, "staged_vectors", layout, rows):
        session.execute(text(statement), parameters)


def read_features(session: Session, runtime_key: str, dim: int, image_ids: Ids) -> bulk.Rows:
    """Features of those of the images that have some, as rows ``image_id``, ``vector``."""
    layout = Layout({"image_id": UUID, "vector": halfvec(dim)})
    query = (
        "SELECT image_id, vector FROM features "
        "WHERE runtime_key = %(key)s AND image_id = ANY(%(ids)s) ORDER BY image_id"
    )
    ids = [uuid.UUID(bytes=one.tobytes()) for one in image_ids]
    return bulk.read(session, layout, query, {"key": runtime_key, "ids": ids})


def read_project_features(
    session: Session, project_id: uuid.UUID, runtime_key: str, dim: int, limit: int
) -> bulk.Rows:
    """Features of up to ``limit`` images of a project, spread over it by chance (ids are random)."""
    layout = Layout({"image_id": UUID, "vector": halfvec(dim)})
    query = (
        "SELECT f.image_id, f.vector FROM features f JOIN images i ON i.id = f.image_id "
        "WHERE i.project_id = %(project)s AND f.runtime_key = %(key)s ORDER BY f.image_id LIMIT %(limit)s"
    )
    return bulk.read(session, layout, query, {"project": project_id, "key": runtime_key, "limit": limit})


def read_unembedded_features(
    session: Session, project_id: uuid.UUID, version_id: uuid.UUID, runtime_key: str, dim: int, limit: int
) -> bulk.Rows:
    """Features of up to ``limit`` images of a project that have none of the version's embeddings yet."""
    layout = Layout({"image_id": UUID, "vector": halfvec(dim)})
    query = (
        "SELECT f.image_id, f.vector FROM features f JOIN images i ON i.id = f.image_id "
        "WHERE i.project_id = %(project)s AND f.runtime_key = %(key)s AND NOT EXISTS ("
        "  SELECT FROM embeddings e WHERE e.model_version_id = %(version)s AND e.image_id = f.image_id) "
        "LIMIT %(limit)s"
    )
    parameters = {"project": project_id, "key": runtime_key, "version": version_id, "limit": limit}
    return bulk.read(session, layout, query, parameters)


def read_embeddings(
    session: Session, version_id: uuid.UUID, dim: int, after: uuid.UUID, limit: int
) -> bulk.Rows:
    """v of up to ``limit`` images of a version, in order of id after ``after``."""
    layout = Layout({"image_id": UUID, "vector": halfvec(dim)})
    query = (
        "SELECT image_id, vector FROM embeddings WHERE model_version_id = %(version)s "
        "AND image_id > %(after)s ORDER BY image_id LIMIT %(limit)s"
    )
    return bulk.read(session, layout, query, {"version": version_id, "after": after, "limit": limit})


def read_unpredicted_embeddings(session: Session, version_id: uuid.UUID, dim: int) -> bulk.Rows:
    """v of the images of a version that it has not scored."""
    layout = Layout({"image_id": UUID, "vector": halfvec(dim)})
    query = (
        "SELECT e.image_id, e.vector FROM embeddings e WHERE e.model_version_id = %(version)s "
        "AND NOT EXISTS (SELECT FROM predictions p "
        "  WHERE p.model_version_id = e.model_version_id AND p.image_id = e.image_id)"
    )
    return bulk.read(session, layout, query, {"version": version_id})


def read_latest_labelled(session: Session, version_id: uuid.UUID, dim: int, limit: int) -> bulk.Rows:
    """v of the images that people have answered last, oldest first."""
    layout = Layout({"vector": halfvec(dim)})
    query = (
        "SELECT vector FROM ("
        "  SELECT e.vector, t.done_at FROM annotation_tasks t JOIN embeddings e ON e.image_id = t.image_id "
        "  WHERE e.model_version_id = %(version)s AND t.state = 'DONE' "
        "  ORDER BY t.done_at DESC LIMIT %(limit)s) latest ORDER BY done_at"
    )
    return bulk.read(session, layout, query, {"version": version_id, "limit": limit})
