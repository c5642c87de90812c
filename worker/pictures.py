"""The picture that the network gets: the same for a stored image and for one that is only predicted.

A large stored image is read from its working copy, a JPEG. A prediction goes through the same copy, so the
same file gives the same features, to the last bit, wherever it comes in.
"""

from PIL import Image

from model.images import WORKING_SIDE, Picture, open_picture
from server.storage import ImageStore, needs_working_copy, working_jpeg


def open_stored(store: ImageStore, sha256: str) -> Image.Image:
    """The picture of a stored image. Raises ``PictureError``, or ``OSError`` if its file is gone."""
    return open_picture(store.working(sha256), target=WORKING_SIDE).image


def open_new(data: bytes, max_pixels: int) -> tuple[Picture, Image.Image]:
    """An image file as decoded, and the picture that the network gets of it. Raises ``PictureError``."""
    picture = open_picture(data, max_pixels=max_pixels, target=WORKING_SIDE)
    if not needs_working_copy(picture):
        return picture, picture.image
    return picture, open_picture(working_jpeg(picture.image), target=WORKING_SIDE).image
