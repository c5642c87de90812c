"""What the annotate page is given of a task, as plain JSON: built once per claim, not validated again."""

import uuid
from typing import Any

from sqlalchemy import Row

from server.addresses import picture_url, picture_urls
from server.annotations.reasons import sentence
from server.predictions.flags import flag_of


def card(project_id: uuid.UUID, row: Row[Any]) -> dict[str, Any]:
    """A held task from the columns of ``queries.find_card``."""
    reason = {**row.reason, "nearest_name": row.nearest_name}
    return {
        "id": str(row.id),
        "token": str(row.lease_token),
        "expires_at": row.lease_expires_at.isoformat(),
        "seconds_left": round(row.seconds_left, 1),
        "image": {
            "id": str(row.image_id),
            "name": row.image_name,
            "batch_id": str(row.batch_id),
            "batch_name": row.batch_name,
            "width": row.width,
            "height": row.height,
            **picture_urls(project_id, row.image_id),
        },
        "flag": flag_of(row.unknown_score),
        "reason": {**reason, "sentence": sentence(reason)},
        "scores": _scores(row),
        "suggestions": _suggestions(project_id, row),
    }


def _scores(row: Row[Any]) -> dict[str, Any] | None:
    if row.unknown_score is None:
        return None
    names = (
        "unknown_score",
        "openness",
        "informativeness",
        "free_energy",
        "version_number",
        "memory_revision",
    )
    return {name: getattr(row, name) for name in names}


def _suggestions(project_id: uuid.UUID, row: Row[Any]) -> list[dict[str, Any]]:
    probabilities = dict(row.top or ())
    return [
        {
            "category_id": found["category_id"],
            "name": found["name"],
            "count": found["count"],
            "distance": found["distance"],
            "usual_limit": found["usual_limit"],
            "probability": probabilities.get(found["category_id"]),
            "exemplar_url": found["exemplar_image_id"]
            and picture_url(project_id, found["exemplar_image_id"], "thumb"),
        }
        for found in row.suggestions or ()
    ]
