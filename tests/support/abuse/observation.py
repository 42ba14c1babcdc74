"""Observes the processes, the logs and the schedule of a running system while it is attacked."""

import asyncio
import math
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import psutil

from support.faults.memory_use import MEBIBYTE
from support.faults.system import RunningSystem

_PIECE = 12
"""A log may contain a part of a credential, so the search is for pieces of this length."""


@dataclass
class Processes:
    """The process ids at the start, and the memory of admin-api since then."""

    system: RunningSystem
    at_start: dict[str, int] = field(init=False)
    scheduled_at_start: tuple[int, int] = field(init=False)
    resident: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at_start = self._pids()
        self.scheduled_at_start = self._scheduled()
        self._sample()

    async def watch_memory(self) -> None:
        """Until cancelled."""
        while True:
            self._sample()
            await asyncio.sleep(0.25)

    def waited_share(self) -> float:
        """The share of its ready time since the start in which admin-api had to wait for a processor."""
        used, waited = (now - before for now, before in zip(self._scheduled(), self.scheduled_at_start, strict=True))
        return waited / (used + waited) if used + waited else 0.0

    def growth_mib(self) -> float:
        """The highest growth since the start."""
        return (max(self.resident) - self.resident[0]) / MEBIBYTE

    def restarted(self) -> list[str]:
        now = self._pids()
        return [name for name, pid in self.at_start.items() if now.get(name) != pid]

    def database_urls(self) -> dict[str, str]:
        """The addresses of the database in the environments of the services, by service."""
        variables = {name: psutil.Process(pid).environ() for name, pid in self.at_start.items()}
        return {name: each["DATABASE_URL"] for name, each in variables.items() if "DATABASE_URL" in each}

    def _sample(self) -> None:
        try:
            self.resident.append(psutil.Process(self._pids()["admin-api"]).memory_info().rss)
        except psutil.NoSuchProcess:
            return  # `restarted` reports it

    def _scheduled(self) -> tuple[int, int]:
        """Nanoseconds for which the threads of admin-api ran, and waited while they were ready to run."""
        threads = Path(f"/proc/{self.at_start['admin-api']}/task").glob("*/schedstat")
        times = [file.read_text().split() for file in threads]
        return sum(int(used) for used, _, _ in times), sum(int(waited) for _, waited, _ in times)

    def _pids(self) -> dict[str, int]:
        keepers = {name: self.system.stack.processes[name] for name in self.system.stack.services}
        return {name: keeper.running.child.pid for name, keeper in keepers.items()}


def leaks(folder: Path, secrets: Iterable[str]) -> list[str]:
    """The log files that contain a piece of a credential, with the first characters of the piece."""
    pieces = {secret[start : start + _PIECE] for secret in secrets for start in range(0, len(secret) - _PIECE, _PIECE)}
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = file.read_text(errors="replace")
        found += [f"{file.name}: {piece[:4]}..." for piece in sorted(pieces) if piece in text]
    return found


def readable_by_others(folder: Path) -> list[str]:
    """The log files that other users of the machine can read."""
    others = stat.S_IRWXG | stat.S_IRWXO
    return [path.name for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_mode & others]


def secret_of(token: str) -> str:
    """The secret part of a token of the form ck_<public id>_<secret>_<checksum>; other credentials are secret."""
    return token.split("_", 2)[2].rpartition("_")[0] if token.startswith("ck_") else token


def p99(values: Sequence[float]) -> float:
    return sorted(values)[max(0, math.ceil(0.99 * len(values)) - 1)] if values else math.inf


async def run_lateness(database_url: str, config_ids: Sequence[int], since: float, until: float) -> list[float]:
    """Seconds from each scheduled slot to the start of its run.

    If a later run superseded it, seconds to the end.
    """
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT extract(epoch FROM CASE WHEN error_class = 'superseded' THEN finished_at ELSE started_at END"
            " - scheduled_for)::float8 AS late FROM job_execution_logs WHERE trigger = 'scheduled'"
            " AND config_id = ANY($1) AND extract(epoch FROM scheduled_for) BETWEEN $2 AND $3",
            config_ids,
            since,
            until,
        )
    finally:
        await connection.close()
    return [row["late"] for row in rows]


def missing_lines(log: Path, request_ids: Iterable[str]) -> list[str]:
    text = log.read_text(errors="replace")
    return [each for each in request_ids if each not in text]


def wrong(answers: Mapping[str, int]) -> str:
    return ", ".join(f"{answer}: {count}" for answer, count in answers.items())
