"""One long-lived client per exchange."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from collector.exchange.circuit_transitions import CircuitState
from collector.exchange.client import ExchangeClient
from collector.exchange.client_options import ClientOptions
from collector.exchange.clock import ExchangeClock
from collector.exchange.failures import ExchangeFailure
from collector.exchange.health_publisher import LANE, host_of
from collector.metrics import CollectorMetrics
from contracts.exchanges import ExchangeHealthChanged
from contracts.vocabulary import ErrorClass


class ExchangeClients:
    """The clients of this process. Each client is built when it is first used; `close` closes all of them."""

    def __init__(
        self,
        options: ClientOptions,
        metrics: CollectorMetrics,
        make_clock: Callable[[], ExchangeClock] = ExchangeClock,
        report: Callable[[str, CircuitState], None] = lambda _exchange, _circuit: None,
        published: Callable[[str], Sequence[ExchangeHealthChanged]] = lambda _exchange: (),
        this_instance: str = "",
        report_markets: Callable[[str, str, Collection[Mapping[str, Any]]], None] = lambda _exchange, _kind, _list: (
            None
        ),
    ) -> None:
        """`report`: see `CircuitBreaker`. `report_markets`: see `ExchangeClient`. `published` returns the latest event
        of each lane of an exchange, from any collector. `this_instance` names this collector in such events, as
        host:pid.
        """
        self._options, self._metrics, self._make_clock, self._report = options, metrics, make_clock, report
        self._published, self._this_instance = published, this_instance
        self._report_markets = report_markets
        self._clients: dict[str, ExchangeClient] = {}
        self._adopted: dict[str, ExchangeHealthChanged] = {}

    def get(self, exchange: str) -> ExchangeClient:
        """Raises `ExchangeFailure` if the exchange is not allowed, or ccxt cannot read its candles. Call it inside the
        event loop.
        """
        allowed = self._options.allowed_exchanges
        if allowed and exchange not in allowed:
            raise ExchangeFailure(
                ErrorClass.NOT_SUPPORTED,
                f"{exchange} is not allowed here, so no request was sent; EXCHANGES_ALLOWED permits "
                f"{', '.join(sorted(allowed))}",
                retryable=False,
            )
        if exchange not in self._clients:
            self._clients[exchange] = ExchangeClient(
                exchange, self._options, self._metrics, self._make_clock(), self._report, self._report_markets
            )
            self._adopt_at_start(exchange, LANE.get() or exchange)
        return self._clients[exchange]

    def adopt_published_state(self, exchange: str) -> None:
        """Adopt a circuit state that another collector has published since the last call.

        Call it only if the exchange has one lane: the other collector has then owned this lane. If there are several
        lanes, each collector has its own IP address, and a ban applies to one address only.
        """
        event = next((each for each in self._published(exchange) if each.key() == exchange), None)
        if exchange in self._clients and event is not None and event.collector != self._this_instance:
            self._adopt(event)

    def _adopt_at_start(self, exchange: str, lane: str) -> None:
        """Adopt the last state of the given lane, or a state from this host, because a restarted process may get other
        lanes than before. If several states apply, the state that ends last is adopted.
        """
        host = host_of(self._this_instance)
        events = [each for each in self._published(exchange) if each.key() == lane or host_of(each.collector) == host]
        if events:
            self._adopt(max(events, key=lambda event: event.until or event.occurred_at))

    def _adopt(self, event: ExchangeHealthChanged) -> None:
        if self._adopted.get(event.exchange) is not event:
            self._adopted[event.exchange] = event
            self._clients[event.exchange].adopt(event)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
