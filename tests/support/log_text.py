"""The log of this process as text, as a service writes it."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import structlog

from runtime.logs import configure_logging
from runtime.settings import LogSettings


@contextmanager
def log_text(*log_formats: str) -> Iterator[io.StringIO]:
    """Everything that is logged in the block, with structlog or with the standard library, in each of the formats."""
    root, text = logging.getLogger(), io.StringIO()
    handlers, level, config = list(root.handlers), root.level, structlog.get_config()
    try:
        configured = []
        for log_format in log_formats:
            with mock.patch.object(sys, "stderr", text):
                configure_logging(LogSettings.model_validate({"log_format": log_format}), "a-service")
            configured += root.handlers
        root.handlers[:] = configured
        structlog.configure(cache_logger_on_first_use=False)  # otherwise later tests would use these processors, too
        yield text
    finally:
        structlog.configure(**config)
        root.handlers[:] = handlers
        root.setLevel(level)
