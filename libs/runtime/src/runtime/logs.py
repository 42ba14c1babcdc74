"""Structured logs: a sentence for people, an `action` for programs, and context that is bound once per message.

`log.info("Run finished", action="run_finished", run_id=run_id)`
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor
from typing_extensions import override

from runtime.settings import LogSettings
from runtime.tracing.spans import trace_id_of

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger()

_NOISY_LIBRARIES = ("aiokafka", "alembic", "faststream", "uvicorn", "asyncio", "ccxt", "sqlalchemy", "opentelemetry")
_REPEAT_SECONDS = 30.0
_MAX_FRAMES: Final = 50
_MAX_TRACEBACK_CHARACTERS: Final = 20_000


def configure_logging(settings: LogSettings, service: str) -> None:
    """Send the lines of structlog and of the standard library's logging to one handler on stderr."""
    shared = _shared_processors(service)
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_write_traceback)]
        if settings.log_format == "console"
        else [
            structlog.processors.ExceptionRenderer(format_traceback),
            structlog.processors.JSONRenderer(default=str),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(NotTooOften(_NOISY_LIBRARIES, every=_REPEAT_SECONDS))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _NOISY_LIBRARIES:
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


def format_traceback(exc_info: ExcInfo) -> str:
    """A traceback without the values of local variables, because these may contain credentials.

    It is rendered on the event loop, so its size is limited. It contains only the innermost frames of each exception in
    the chain, and the middle of a long text is left out. The console format of structlog (rich) is not used, because it
    took seconds.
    """
    text = "".join(traceback.format_exception(*exc_info, limit=-_MAX_FRAMES)).removesuffix("\n")
    if len(text) <= _MAX_TRACEBACK_CHARACTERS:
        return text
    half = _MAX_TRACEBACK_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _write_traceback(target: TextIO, exc_info: ExcInfo) -> None:
    target.write(f"\n{format_traceback(exc_info)}")


def _shared_processors(service: str) -> list[Processor]:
    def name_service(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    def add_trace_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
        if (run_id := event.get("run_id")) is not None and (trace_id := trace_id_of(run_id)) is not None:
            event["trace_id"] = trace_id
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        add_trace_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        name_service,
    ]


class NotTooOften(logging.Filter):
    """Passes the same message of a noisy library at most once per period. While Kafka is unavailable, aiokafka repeats
    a line several times a second.
    """

    def __init__(
        self, libraries: tuple[str, ...], *, every: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`every` is in seconds. It is measured with the monotonic clock, because lines would be lost if the wall clock
        were set back.
        """
        super().__init__()
        self._libraries = tuple(f"{name}." for name in libraries) + libraries
        self._every, self._monotonic = every, monotonic
        self._last: dict[tuple[str, str], float] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(self._libraries):
            return True
        message, now = (record.name, str(record.msg)), self._monotonic()
        if now - self._last.get(message, -self._every) < self._every:
            return False
        if len(self._last) > 500:  # noqa: PLR2004 -- limits the memory: f-strings make many messages
            self._last.clear()
        self._last[message] = now
        return True
