"""One place where log lines get their form: an event name and keywords, for people or as JSON.

Code logs through ``structlog.get_logger()``. What libraries log through the standard library takes the
same form. Whatever a request or a job binds with ``structlog.contextvars`` (its number, above all)
appears on every line that is written on its behalf.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.types import EventDict, Processor

# Their debug and info lines repeat what our own events say.
QUIET_LIBRARIES = ("alembic", "celery.redirected", "httpcore", "httpx", "kombu", "PIL", "uvicorn.access")


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, told from those that a test runner adds."""


def configure(log_format: str, *, level: int = logging.INFO) -> None:
    """Send every log line of this process to standard error, as ``console`` or ``json`` lines."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _drop_second_message,
        structlog.processors.TimeStamper(
            fmt="iso" if log_format == "json" else "%H:%M:%S", utc=log_format == "json"
        ),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format),
            ],
        )
    )
    root = logging.getLogger()
    for earlier in [present for present in root.handlers if isinstance(present, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _drop_second_message(_: object, __: str, event: EventDict) -> EventDict:
    """uvicorn sends its messages twice, once with colours."""
    event.pop("color_message", None)
    return event


def _renderers(log_format: str) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(default=str)]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
