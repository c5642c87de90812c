"""Errors that are ordinary business. Each knows its HTTP status; 500 always means a bug.

A message names the item and the mend, in words that may be shown to a person.
"""

from typing import Any


class NewfoundError(Exception):
    """Base of all expected errors.

    ``code`` is stable and for programs, ``message`` is for people, ``details`` is JSON evidence.
    """

    status_code = 400
    code = "bad-request"

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.details = details


class InvalidInput(NewfoundError):
    """The request is well-formed but cannot be done as it stands."""

    status_code = 422
    code = "invalid-input"


class NotAuthenticated(NewfoundError):
    """No session cookie or bearer token, or one that has expired."""

    status_code = 401
    code = "not-authenticated"


class NotPermitted(NewfoundError):
    """The user is known but the role does not allow it."""

    status_code = 403
    code = "not-permitted"


class NotFound(NewfoundError):
    """There is no such thing, or none that this user may see."""

    status_code = 404
    code = "not-found"


class Conflict(NewfoundError):
    """The state has moved on; the message says what is true now."""

    status_code = 409
    code = "conflict"


class TooLarge(NewfoundError):
    """The body exceeds a limit, which the message states."""

    status_code = 413
    code = "too-large"


class TooManyRequests(NewfoundError):
    """Asked too often; the message says when to come back, ``retry_after`` in how many seconds."""

    status_code = 429
    code = "too-many-requests"

    def __init__(self, message: str, *, retry_after: int, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class Unavailable(NewfoundError):
    """A part that this needs is not answering now. Try again after ``retry_after`` seconds."""

    status_code = 503
    code = "unavailable"

    def __init__(self, message: str, *, retry_after: int = 2, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class StorageFull(NewfoundError):
    """The disk has no room left; nothing half-written remains."""

    status_code = 507
    code = "storage-full"


class InternalError(NewfoundError):
    """A bug. ``number`` in the details finds it in the log."""

    status_code = 500
    code = "internal"
