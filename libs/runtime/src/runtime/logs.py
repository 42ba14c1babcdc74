"""Structured logs: a sentence for people, an `action` slug for machines, and context bound once at the edge.

`log.info("Run finished", action="run_finished", run_id=run_id)`
"""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog
from structlog.typing import EventDict, Processor
from typing_extensions import override

from runtime.settings import LogSettings

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()

_CHATTY = ("aiokafka", "alembic", "faststream", "uvicorn", "asyncio", "ccxt", "sqlalchemy")
_REPEAT_SECONDS = 30.0


def configure_logging(settings: LogSettings, service: str) -> None:
    """Route structlog and the standard library's logging through one handler on stderr."""
    shared = _shared_processors(service)
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if settings.log_format == "console"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(NotTooOften(_CHATTY, every=_REPEAT_SECONDS))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
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


def _shared_processors(service: str) -> list[Processor]:
    def name_service(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        name_service,
    ]


class NotTooOften(logging.Filter):
    """Lets the same sentence of a chatty library through once per period: while Kafka is away aiokafka says the same
    line several times a second.
    """

    def __init__(
        self, libraries: tuple[str, ...], *, every: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`every` is in seconds of the monotonic clock: a wall clock that is set back would silence the library."""
        super().__init__()
        self._libraries = tuple(f"{name}." for name in libraries) + libraries
        self._every, self._monotonic = every, monotonic
        self._last: dict[tuple[str, str], float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(self._libraries):
            return True
        said, now = (record.name, str(record.msg)), self._monotonic()
        if now - self._last.get(said, -self._every) < self._every:
            return False
        if len(self._last) > 500:  # noqa: PLR2004 -- a bound, so that messages built by f-strings cannot fill memory
            self._last.clear()
        self._last[said] = now
        return True
