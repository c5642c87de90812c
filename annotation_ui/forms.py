"""Form fields from people, and where to go after a form."""

from typing import TypeVar
from urllib.parse import quote, urlsplit

from fastapi.responses import RedirectResponse
from pydantic import BaseModel, BeforeValidator, ValidationError
from starlette.status import HTTP_303_SEE_OTHER

from server.errors import InvalidInput

Fields = TypeVar("Fields", bound=BaseModel)

# A form of filters sends every field; an empty one filters nothing.
BLANK_IS_NONE = BeforeValidator(lambda text: text or None)


def see(address: str) -> RedirectResponse:
    """Go to a page after a form was taken: reloading it sends nothing again."""
    return RedirectResponse(address, HTTP_303_SEE_OTHER)


def login_address(wanted: str) -> str:
    """The login page that leads back to ``wanted`` afterwards."""
    return f"/login?next={quote(wanted)}"


def own_address(wanted: str) -> str:
    """``wanted`` if it is a path of this service, else the list of projects."""
    parts = urlsplit(wanted)
    # Browsers read a backslash as a slash, and two slashes lead to another host.
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.netloc
    return wanted if is_ours and wanted.isprintable() else "/projects"


def parse(kind: type[Fields], **values: object) -> Fields:
    """The fields as ``kind`` holds them.

    Raises:
        InvalidInput: names the first field at fault.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]).replace("_", " ").capitalize() if first["loc"] else "Form"
        raise InvalidInput(f"{field}: {first['msg']}.") from error
