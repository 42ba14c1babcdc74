"""A whole running system: operate it, break it, and check its evidence at the end."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import asyncpg
import httpx
from aiokafka.errors import KafkaError

from local_stack.errors import StackError
from local_stack.readiness import is_ready
from local_stack.stack import Stack, StackOptions, running_stack
from support.faults.checker import check
from support.faults.collect_evidence import collect_evidence, collect_schedule_evidence
from support.faults.evidence import Evidence, Rules
from support.faults.history import Call, Fault, History, Outcome, StatusChange, Verb, now
from support.faults.run_rules import lost_slots
from support.faults.violations import Violation
from support.polling import eventually

API_PATH = "/api/v1/admin/data-collection"
_SETTINGS = {
    "KAFKA_SESSION_TIMEOUT_MS": "6000",
    "LOG_FORMAT": "json",
    "RUN_DEADLINE_SECONDS": "20",
    "LOST_RUN_GRACE_SECONDS": "5",
    "LOST_RUN_CHECK_SECONDS": "1",
    "DATABASE_COMMAND_TIMEOUT_SECONDS": "5",
}
_ASSETS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "AVAX", "LINK")
_QUOTES = {"binance": "USDT", "bybit": "USDT", "coinbase": "USD", "kraken": "USD", "okx": "USDT"}
MARKETS = tuple((exchange, f"{asset}/{quote}") for asset in _ASSETS for exchange, quote in _QUOTES.items())
_RULES = Rules(spread_ms=300_000, stuck_after=15.0, in_flight_seconds=0.5)


@dataclass
class RunningSystem:
    """A running system with its history, and methods that operate, break and check it."""

    stack: Stack
    api: httpx.AsyncClient
    database_url: str
    """The address of the database without a proxy."""
    history: History
    random: random.Random
    overrides: dict[str, dict[str, str]]
    unreadable: set[tuple[str, int, int]] = field(default_factory=set)
    unreadable_sent_at: dict[tuple[str, int, int], float] = field(default_factory=dict)
    rules: Rules = _RULES
    retry_after_by_mood: dict[str, float] = field(default_factory=dict)
    """Seconds of Retry-After, by the kind of mood."""
    config_ids: list[int] = field(default_factory=list)

    # -- operating ---------------------------------------------------------------------------------------------------

    async def create(self, count: int, markets: Sequence[tuple[str, str]] = MARKETS) -> None:
        """Create configs that collect one-minute candles every minute. Their slots are spread over the minute."""
        for exchange, symbol in markets[len(self.config_ids) : len(self.config_ids) + count]:
            body = {"exchange": exchange, "symbol": symbol, "timeframes": ["1m"], "interval_minutes": 1}
            call = await self.call("create", "POST", "/configs", body)
            if call.config_id is not None:
                self.config_ids.append(call.config_id)

    async def trigger(self, config_id: int, *, key: str | None = None) -> Call:
        """Trigger a config. `key` is the Idempotency-Key of a request that may be repeated."""
        headers = {"Idempotency-Key": key} if key else None
        return await self.call("trigger", "POST", f"/configs/{config_id}/trigger", config_id=config_id, headers=headers)

    async def update(self, config_id: int, **changes: Any) -> Call:
        return await self.call("update", "PUT", f"/configs/{config_id}", changes, config_id=config_id)

    async def operate(self, *, seconds: float) -> None:
        """Change and trigger configs every few seconds. The API must accept every request, even during a fault."""
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            config_id = self.random.choice(self.config_ids)
            assert (await self.update(config_id, interval_minutes=self.random.choice([1, 2]))).outcome == "ok"
            assert (await self.trigger(self.random.choice(self.config_ids))).outcome == "ok"
            await asyncio.sleep(self.random.uniform(1, 3))

    async def call(
        self,
        verb: Verb,
        method: str,
        path: str,
        body: Any = None,
        *,
        config_id: int | None = None,
        api: httpx.AsyncClient | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Call:
        """Send a request to the API, or to the given instance of it, and record the result."""
        at, outcome = now(), "unknown"
        subject = "{exchange}|{symbol}".format_map(body) if verb == "create" else ""
        content: dict[str, Any] = {}
        try:
            response = await (api or self.api).request(method, path, json=body, headers=headers)
            outcome = "ok" if response.is_success else "failed" if response.status_code < 500 else "unknown"
            content = response.json() if outcome == "ok" and response.content else {}
        except httpx.HTTPError:
            pass
        call = Call(at=at, verb=verb, outcome=_outcome(outcome), config_id=config_id, subject=subject)
        if verb == "trigger":
            call = replace(call, run_id=content.get("run_id"))
        elif content and verb != "delete":
            call = _with_config(call, content)
        self.history.record(call)
        return call

    # -- breaking ----------------------------------------------------------------------------------------------------

    def arm(self, process: str, failpoints: str) -> None:
        """Set the failpoints of the process from its next start on. An empty string removes them."""
        self.overrides.setdefault(process, {})["FAILPOINTS"] = failpoints
        self.record_fault(f"failpoints {failpoints or 'off'}", process)

    def send_signal(self, process: str, number: signal.Signals) -> None:
        self.record_fault(number.name, process)
        self.stack.processes[process].send(number)

    async def restart(self, process: str) -> int | None:
        """Stop it with SIGTERM and start it again. Returns the exit code."""
        self.record_fault("restart", process)
        keeper = self.stack.processes[process]
        child = keeper.running.child
        await keeper.stop()
        await keeper.start()
        await self.wait_until_ready(process)
        return None if child is None else child.exit_code

    async def kill(self, process: str) -> None:
        """Send SIGKILL. The process stays down until `start`."""
        self.record_fault("killed", process)
        await self.stack.processes[process].halt()

    async def start(self, process: str) -> None:
        self.record_fault("started", process)
        await self.stack.processes[process].start()

    async def wait_until_ready(self, process: str, within: float = 30.0) -> None:
        """Wait until the process is ready, even if it dies and is started again meanwhile."""
        service = self.stack.services[process]
        await eventually(lambda: is_ready(service.port, service.role.ready_path), within=within, every=0.1)

    async def restart_with_failpoints(self, process: str, failpoints: str) -> None:
        """Restart the process with these failpoints. It may die again before it is ready."""
        self.arm(process, failpoints)
        with contextlib.suppress(AssertionError):
            await self.restart(process)

    async def wait_for_failpoint(self, process: str, count: int, within: float = 60.0) -> None:
        """Wait until the process has reached its failpoint `count` times since its last regular start."""
        log = self.stack.folder.logs / f"{process}.log"

        def died() -> bool:
            reached = log.read_text(errors="replace").count('"action": "failpoint"')
            assert reached >= count, f"{process} reached its failpoint {reached} of {count} times"
            return True

        await eventually(died, within=within, every=0.2)

    async def mood(self, kind: str, **mood: Any) -> None:
        """Set a mood of the simulated exchanges; "ok" ends all moods."""
        self.record_fault(f"mood {kind} {mood}", str(mood.get("exchange", "exchanges")))
        await self.set_mood({"kind": kind} | mood)

    async def set_mood(self, mood: Mapping[str, Any]) -> None:
        """Set a mood without an entry in the history."""
        if "retry_after" in mood:
            self.retry_after_by_mood[mood["kind"]] = mood["retry_after"]
        async with httpx.AsyncClient(base_url=self.stack.simulator_url or "", timeout=60) as simulator:
            if mood["kind"] == "ok":
                response = await simulator.delete("/control/moods")
            else:
                response = await simulator.post("/control/moods", json=mood)
            response.raise_for_status()

    async def set_history(self, history: Mapping[str, Any]) -> None:
        """Set the facts about a simulated market, before its candles are read. They are no fault."""
        async with httpx.AsyncClient(base_url=self.stack.simulator_url or "", timeout=60) as simulator:
            (await simulator.put("/control/histories", json=history)).raise_for_status()

    def record_fault(self, kind: str, target: str, until: float | None = None) -> None:
        self.history.record(Fault(at=now(), kind=kind, target=target, until=until))

    # -- checking ----------------------------------------------------------------------------------------------------

    async def evidence(self, until: float) -> Evidence:
        """Collect all evidence. Raises AssertionError while a part of the system does not respond."""
        with errors_as_assertions():
            return await collect_evidence(
                self.stack,
                self.database_url,
                self.history,
                self.rules,
                until=until,
                unreadable=dict.fromkeys(self.unreadable) | self.unreadable_sent_at,
                retry_after_by_mood=self.retry_after_by_mood,
            )

    async def schedule_evidence(self, until: float) -> Evidence:
        """Collect only the evidence about handled slots. Raises AssertionError like `evidence`."""
        with errors_as_assertions():
            return await collect_schedule_evidence(self.stack, self.database_url, self.history, self.rules, until=until)

    async def judge(self, *, recovered_within: float = 60.0) -> Evidence:
        """Wait for recovery, stop the schedulers, wait until all work is done, and require no violation."""
        evidence, violations = await self.stop_and_check(
            until=await self.wait_until_recovered(recovered_within), within=45.0
        )
        assert violations == [], "\n".join(str(each) for each in violations[:20])
        return evidence

    async def wait_until_recovered(self, within: float) -> float:
        """Wait until every slot of the last seconds is handled. Returns the time up to which slots can be checked."""
        since = now() + 5

        async def on_time() -> bool:
            evidence = await self.schedule_evidence(now() - 3)
            late = list(lost_slots(evidence))
            assert not late, late[:5]
            behind = [config for config in evidence.configs.values() if config.scheduled_version != config.version]
            assert not behind, behind[:5]
            return evidence.until > since

        await eventually(on_time, within=within, every=1.0)
        return now() - 1

    async def stop_and_check(self, until: float, within: float) -> tuple[Evidence, list[Violation]]:
        """Stop the schedulers and wait until there is no violation. Returns the evidence and what violations remain."""
        for name, process in self.stack.processes.items():
            if name.startswith("scheduler"):
                await process.stop()
        verdict = _Verdict()

        async def clean() -> bool:
            verdict.evidence = await self.evidence(until)
            verdict.violations = check(verdict.evidence)
            return not verdict.violations

        with contextlib.suppress(AssertionError):
            await eventually(clean, within=within, every=2.0)
        assert verdict.evidence is not None, "the evidence could not be collected"
        return verdict.evidence, verdict.violations

    async def _record_status_changes(self) -> None:
        """Record every change of a run's status until cancelled. Changes while the database is down are not seen."""
        known: dict[str, tuple[str, bool]] = {}
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self.database_url, timeout=2, command_timeout=2)
                try:
                    while True:
                        rows = await connection.fetch("SELECT run_id, status, closed_by_sweep FROM job_execution_logs")
                        self._record_changed_rows(known, rows)
                        await asyncio.sleep(0.5)
                finally:
                    connection.terminate()
            await asyncio.sleep(0.5)

    def _record_changed_rows(self, known: dict[str, tuple[str, bool]], rows: Iterable[Any]) -> None:
        for row in rows:
            run_id, state = str(row["run_id"]), (row["status"], row["closed_by_sweep"])
            if known.get(run_id) != state:
                known[run_id] = state
                self.history.record(StatusChange(at=now(), run_id=run_id, status=state[0], presumed=state[1]))


@contextlib.contextmanager
def errors_as_assertions() -> Iterator[None]:
    """Raise AssertionError if a part of the system does not respond, so that a poll tries again."""
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, httpx.HTTPError, KafkaError, StackError) as error:
        raise AssertionError(f"the evidence could not be collected: {error!r}") from error


@dataclass
class _Verdict:
    evidence: Evidence | None = None
    violations: list[Violation] = field(default_factory=list)


@asynccontextmanager
async def running_system(
    options: StackOptions, *, seed: int, database_url: str | None = None, instances: Mapping[str, int] | None = None
) -> AsyncIterator[RunningSystem]:
    """A running system; its seed is printed.

    `database_url` is needed if the services use another address of the database, such as a proxy.
    """
    print(f"seed {seed}")
    overrides = {name: dict(values) for name, values in options.overrides.items()}
    overrides["*"] = overrides.get("*", {}) | _SETTINGS
    options = replace(options, overrides=overrides, instances=instances or {})
    async with running_stack(options) as stack:
        headers = {"Authorization": f"Bearer {stack.token}"}
        async with httpx.AsyncClient(base_url=f"{stack.api_url}{API_PATH}", headers=headers, timeout=10) as api:
            system = RunningSystem(
                stack=stack,
                api=api,
                database_url=database_url or stack.database_url,
                history=History(stack.options.folder / "history.jsonl"),
                random=random.Random(seed),
                overrides=overrides,
            )
            recorder = asyncio.create_task(system._record_status_changes())
            try:
                yield system
            finally:
                recorder.cancel()
                await asyncio.wait([recorder])


def _outcome(text: str) -> Outcome:
    return "ok" if text == "ok" else "failed" if text == "failed" else "unknown"


def _with_config(call: Call, content: Mapping[str, Any]) -> Call:
    return replace(
        call,
        config_id=content["id"],
        version=content["version"],
        since=datetime.fromisoformat(content["updated_at"]).timestamp(),
        interval_minutes=content["interval_minutes"],
        enabled=content["enabled"],
    )
