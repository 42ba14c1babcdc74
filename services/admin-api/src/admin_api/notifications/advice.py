"""The advice about each problem, for the person who gets the message."""

from typing import Final

from admin_api.notifications.problems import Cause
from admin_api.receivers.settings import ProblemKind
from contracts.vocabulary import ErrorClass

FAILURES: Final[dict[ErrorClass, tuple[str, str]]] = {
    ErrorClass.BAD_SYMBOL: (
        "the exchange does not know the symbol",
        "Check the symbols: they may be renamed or delisted. Disable their configs or correct them.",
    ),
    ErrorClass.BAD_REQUEST: (
        "the exchange refuses the request as wrong",
        "Check timeframes and symbols of the configs. If they are right, the exchange has changed its API.",
    ),
    ErrorClass.NOT_SUPPORTED: (
        "the exchange does not offer these candles",
        "Choose another timeframe or another exchange for these configs.",
    ),
    ErrorClass.AUTHENTICATION: (
        "the exchange asks for credentials",
        "Candlekeep collects public data only. Disable these configs, or check the address of the exchange.",
    ),
    ErrorClass.RATE_LIMITED: (
        "the exchange says that there were too many requests",
        "Requests wait by themselves. If it lasts, choose longer intervals or fewer configs.",
    ),
    ErrorClass.BANNED: (
        "the exchange has banned our address",
        "Do not restart anything: Candlekeep sends no requests until the ban ends. Then use longer intervals.",
    ),
    ErrorClass.BLOCKED_LOCATION: (
        "the exchange does not serve the country of our address",
        "Run the collector in another region, or disable these configs.",
    ),
    ErrorClass.MAINTENANCE: (
        "the exchange is in maintenance",
        "Nothing: the missed time is collected when the exchange is back.",
    ),
    ErrorClass.UNAVAILABLE: (
        "the exchange does not work",
        "See the status page of the exchange. The missed time is collected when it is back.",
    ),
    ErrorClass.TIMEOUT: (
        "the exchange does not answer in time",
        "Check the network of the collector and the status page of the exchange.",
    ),
    ErrorClass.NETWORK: (
        "the exchange cannot be reached",
        "Check the network, DNS and proxy of the collector.",
    ),
    ErrorClass.BAD_RESPONSE: (
        "the answers of the exchange cannot be read",
        "See the errors of the runs. If it lasts, the exchange has changed its API, and Candlekeep needs an update.",
    ),
    ErrorClass.INVALID_DATA: (
        "the candles of the exchange contradict themselves",
        "See the errors of the runs. Such candles are not stored.",
    ),
    ErrorClass.UNPROVEN_TRADES: (
        "candles from trades differ from those of the exchange",
        "See the errors of the runs. Such candles are not stored.",
    ),
    ErrorClass.EXCHANGE_ERROR: (
        "the exchange answers with an error",
        "See the errors of the runs and the status page of the exchange.",
    ),
    ErrorClass.DEADLINE_EXCEEDED: (
        "the runs take longer than their deadline",
        "Raise RUN_DEADLINE_SECONDS, choose longer intervals, or add collectors.",
    ),
    ErrorClass.COLLECTOR_LOST: (
        "the collector vanished during the runs",
        "Check whether the collector is killed, for example because of its memory limit.",
    ),
    ErrorClass.INTERNAL: (
        "Candlekeep itself failed",
        "See the log of the collector, and report the error.",
    ),
}
"""The meaning of each error class of failed runs, and the steps. Runs with other classes are skipped, not failed."""

_OTHER_FAILURE: Final = ("the runs fail", "See the errors of the runs.")
_STEPS: Final = {
    ProblemKind.NO_RUNS: "Check the scheduler, Kafka, the collector and log-writer: `candlekeep doctor` helps.",
    ProblemKind.STUCK_RUNS: "Check that log-writer and the collector run. Log-writer closes runs whose collector "
    "vanished.",
    ProblemKind.CANDLES_AT_RISK: "Correct the failures of these series before that time. A manual run of their "
    "configs reads the candles at once.",
}


def meaning_of(error_class: str) -> str:
    """The meaning of an error class, as the rest of a sentence that begins with "`banned` means that"."""
    return _failure(error_class)[0]


def steps_for(cause: Cause) -> str:
    return _failure(cause.error_class)[1] if cause.kind is ProblemKind.FAILED_RUNS else _STEPS[cause.kind]


def _failure(error_class: str) -> tuple[str, str]:
    return FAILURES[ErrorClass(error_class)] if error_class in FAILURES else _OTHER_FAILURE
