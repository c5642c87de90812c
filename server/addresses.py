"""Where a browser finds a picture: the address that answers give of it, written once."""

import uuid
from typing import Literal

Size = Literal["thumb", "display"]


def picture_url(project_id: uuid.UUID, image_id: uuid.UUID | str, size: Size) -> str:
    """Address of an image, encoded anew: ``thumb`` is small, ``display`` fits a screen."""
    return f"/api/v1/projects/{project_id}/images/{image_id}/{size}"


def picture_urls(project_id: uuid.UUID, image_id: uuid.UUID | str) -> dict[str, str]:
    """Both addresses by the names under which answers give them."""
    return {
        "thumb_url": picture_url(project_id, image_id, "thumb"),
        "display_url": picture_url(project_id, image_id, "display"),
    }
