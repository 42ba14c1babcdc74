"""A whole system that is being operated, watched and broken; in the end its evidence is judged."""

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
from support.faults.evidence import Evidence, Rules
from support.faults.gather import gather, gather_schedule
from support.faults.history import Call, Fault, History, Outcome, Seen, Verb, now
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
_RULES = Rules(spread_ms=300_000, lost_after=15.0, in_flight=0.5)


@dataclass
class Operated:
    """The system, its history and the hands that break it."""

    stack: Stack
    api: httpx.AsyncClient
    database_url: str
    """The tables' own address, past any proxy."""
    history: History
    random: random.Random
    overrides: dict[str, dict[str, str]]
    poison: set[tuple[str, int, int]] = field(default_factory=set)
    poisoned_at: dict[tuple[str, int, int], float] = field(default_factory=dict)
    rules: Rules = _RULES
    retrier: dict[str, float] = field(default_factory=dict)
    """Seconds of Retry-After, by the mood that asks for them."""
    config_ids: list[int] = field(default_factory=list)

    # -- operating ---------------------------------------------------------------------------------------------------

    async def create(self, count: int, markets: Sequence[tuple[str, str]] = MARKETS) -> None:
        """So many configs, each a minute candle every minute; their slots spread over the minute."""
        for exchange, symbol in markets[len(self.config_ids) : len(self.config_ids) + count]:
            body = {"exchange": exchange, "symbol": symbol, "timeframes": ["1m"], "interval_minutes": 1}
            call = await self.call("create", "POST", "/configs", body)
            if call.config_id is not None:
                self.config_ids.append(call.config_id)

    async def trigger(self, config_id: int, *, key: str | None = None) -> Call:
        """`key`: the Idempotency-Key, for one that may be asked again."""
        headers = {"Idempotency-Key": key} if key else None
        return await self.call("trigger", "POST", f"/configs/{config_id}/trigger", config_id=config_id, headers=headers)

    async def update(self, config_id: int, **changes: Any) -> Call:
        return await self.call("update", "PUT", f"/configs/{config_id}", changes, config_id=config_id)

    async def operate(self, *, seconds: float) -> None:
        """Change and trigger configs now and then; the API must take it all, whatever is broken meanwhile."""
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            chosen = self.random.choice(self.config_ids)
            assert (await self.update(chosen, interval_minutes=self.random.choice([1, 2]))).outcome == "ok"
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
        """Ask the API, or this instance of it, and note what came of it."""
        at, outcome = now(), "unknown"
        subject = "{exchange}|{symbol}".format_map(body) if verb == "create" else ""
        answer: dict[str, Any] = {}
        try:
            response = await (api or self.api).request(method, path, json=body, headers=headers)
            outcome = "ok" if response.is_success else "failed" if response.status_code < 500 else "unknown"
            answer = response.json() if outcome == "ok" and response.content else {}
        except httpx.HTTPError:
            pass
        call = Call(at=at, verb=verb, outcome=_outcome(outcome), config_id=config_id, subject=subject)
        if verb == "trigger":
            call = replace(call, run_id=answer.get("run_id"))
        elif answer and verb != "delete":
            call = _told(call, answer)
        self.history.note(call)
        return call

    # -- breaking ----------------------------------------------------------------------------------------------------

    def arm(self, process: str, failpoints: str) -> None:
        """From its next start on. "" disarms."""
        self.overrides.setdefault(process, {})["FAILPOINTS"] = failpoints
        self.fault(f"failpoints {failpoints or 'off'}", process)

    def send(self, process: str, number: signal.Signals) -> None:
        self.fault(number.name, process)
        self.stack.processes[process].send(number)

    async def restart(self, process: str) -> int | None:
        """Stop it well, start it again. Returns the exit code."""
        self.fault("restart", process)
        kept = self.stack.processes[process]
        child = kept.running.child
        await kept.stop()
        await kept.start()
        await self.ready(process)
        return None if child is None else child.exit_code

    async def kill(self, process: str) -> None:
        """SIGKILL, and it stays dead until `revive`."""
        self.fault("killed", process)
        await self.stack.processes[process].halt()

    async def revive(self, process: str) -> None:
        self.fault("revived", process)
        await self.stack.processes[process].start()

    async def ready(self, process: str, within: float = 30.0) -> None:
        """Wait until it says so; also past deaths, after which it is started again."""
        service = self.stack.services[process]
        await eventually(lambda: is_ready(service.port, service.role.ready_path), within=within, every=0.1)

    async def restart_broken(self, process: str, failpoints: str) -> None:
        """Have the process live with these failpoints from now on. It may be dead again before it is ready."""
        self.arm(process, failpoints)
        with contextlib.suppress(AssertionError):
            await self.restart(process)

    async def deaths(self, process: str, count: int, within: float = 60.0) -> None:
        """Wait until it has broken so often since the last orderly start."""
        log = self.stack.folder.logs / f"{process}.log"

        def died() -> bool:
            reached = log.read_text(errors="replace").count('"action": "failpoint"')
            assert reached >= count, f"{process} reached its failpoint {reached} of {count} times"
            return True

        await eventually(died, within=within, every=0.2)

    async def mood(self, kind: str, **what: Any) -> None:
        """Put the simulated exchanges into a mood; "ok" ends all."""
        self.fault(f"mood {kind} {what}", str(what.get("exchange", "exchanges")))
        await self.set_mood({"kind": kind} | what)

    async def set_mood(self, what: Mapping[str, Any]) -> None:
        """The same, and the history does not say so."""
        if "retry_after" in what:
            self.retrier[what["kind"]] = what["retry_after"]
        async with httpx.AsyncClient(base_url=self.stack.simulator_url or "") as simulator:
            if what["kind"] == "ok":
                answer = await simulator.delete("/control/moods")
            else:
                answer = await simulator.post("/control/moods", json=what)
            answer.raise_for_status()

    def fault(self, what: str, target: str, until: float | None = None) -> None:
        self.history.note(Fault(at=now(), what=what, target=target, until=until))

    # -- judging -----------------------------------------------------------------------------------------------------

    async def evidence(self, until: float) -> Evidence:
        """All that is known now. An AssertionError while a part of the system cannot be asked."""
        with askable():
            return await gather(
                self.stack,
                self.database_url,
                self.history,
                self.rules,
                until=until,
                poison=dict.fromkeys(self.poison) | self.poisoned_at,
                retrier=self.retrier,
            )

    async def _schedule(self, until: float) -> Evidence:
        with askable():
            return await gather_schedule(self.stack, self.database_url, self.history, self.rules, until=until)

    async def judge(self, *, recovered_within: float = 60.0) -> Evidence:
        """Wait for recovery, end the ticking, wait for quiet, and require that every guarantee held."""
        evidence, violations = await self.settled(until=await self.recovered(recovered_within), within=45.0)
        assert violations == [], "\n".join(str(each) for each in violations[:20])
        return evidence

    async def recovered(self, within: float) -> float:
        """Wait until every slot of the last seconds is dealt with; the instant up to which all can be judged."""
        since = now() + 5

        async def on_time() -> bool:
            evidence = await self._schedule(now() - 3)
            late = list(lost_slots(evidence))
            assert not late, late[:5]
            behind = [config for config in evidence.configs.values() if config.scheduled_version != config.version]
            assert not behind, behind[:5]
            return evidence.until > since

        await eventually(on_time, within=within, every=1.0)
        return now() - 1

    async def settled(self, until: float, within: float) -> tuple[Evidence, list[Violation]]:
        """End the ticking and wait for quiet; what is wrong even then."""
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
        assert verdict.evidence is not None, "the evidence was never to be had"
        return verdict.evidence, verdict.violations

    async def watch(self) -> None:
        """Note every change of a run's status, until cancelled; while the database is away there is nothing to see."""
        known: dict[str, tuple[str, bool]] = {}
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self.database_url, timeout=2, command_timeout=2)
                try:
                    while True:
                        rows = await connection.fetch("SELECT run_id, status, closed_by_sweep FROM job_execution_logs")
                        self._look(known, rows)
                        await asyncio.sleep(0.5)
                finally:
                    connection.terminate()
            await asyncio.sleep(0.5)

    def _look(self, known: dict[str, tuple[str, bool]], rows: Iterable[Any]) -> None:
        for row in rows:
            run_id, state = str(row["run_id"]), (row["status"], row["closed_by_sweep"])
            if known.get(run_id) != state:
                known[run_id] = state
                self.history.note(Seen(at=now(), run_id=run_id, status=state[0], presumed=state[1]))


@contextlib.contextmanager
def askable() -> Iterator[None]:
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, httpx.HTTPError, KafkaError, StackError) as error:
        raise AssertionError(f"the evidence is not to be had: {error!r}") from error


@dataclass
class _Verdict:
    evidence: Evidence | None = None
    violations: list[Violation] = field(default_factory=list)


@asynccontextmanager
async def operated(
    options: StackOptions, *, seed: int, database_url: str | None = None, instances: Mapping[str, int] | None = None
) -> AsyncIterator[Operated]:
    """A running system; `database_url` where the services know the database by another address. Prints the seed."""
    print(f"seed {seed}")
    overrides = {name: dict(values) for name, values in options.overrides.items()}
    overrides["*"] = overrides.get("*", {}) | _SETTINGS
    own = replace(options, overrides=overrides, instances=instances or {})
    async with running_stack(own) as stack:
        headers = {"Authorization": f"Bearer {stack.token}"}
        async with httpx.AsyncClient(base_url=f"{stack.api_url}{API_PATH}", headers=headers, timeout=10) as api:
            system = Operated(
                stack=stack,
                api=api,
                database_url=database_url or stack.database_url,
                history=History(stack.options.folder / "history.jsonl"),
                random=random.Random(seed),
                overrides=overrides,
            )
            watching = asyncio.create_task(system.watch())
            try:
                yield system
            finally:
                watching.cancel()
                await asyncio.wait([watching])


def _outcome(text: str) -> Outcome:
    return "ok" if text == "ok" else "failed" if text == "failed" else "unknown"


def _told(call: Call, answer: Mapping[str, Any]) -> Call:
    return replace(
        call,
        config_id=answer["id"],
        version=answer["version"],
        since=datetime.fromisoformat(answer["updated_at"]).timestamp(),
        interval_minutes=answer["interval_minutes"],
        enabled=answer["enabled"],
    )
