"""A simulated operator that works during faults: seeded, one call at a time, and each call is recorded."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from support.faults.history import Call
from support.faults.system import RunningSystem

_PAUSE = (0.2, 1.0)
_ACTIONS = {"trigger": 30, "switch": 25, "timeframes": 15, "interval": 10, "create": 6, "delete": 5}
_MIN_ENABLED_SHARE = 0.9
"""This share of the first configs stays enabled, so that enough runs are due."""


@dataclass
class Operator:
    """Sends each call to one of the instances `apis`. `spare` contains markets for further configs."""

    system: RunningSystem
    apis: Sequence[httpx.AsyncClient]
    random: random.Random
    spare: list[tuple[str, str]]
    enabled: dict[int, bool] = field(default_factory=dict)
    unanswered: list[int] = field(default_factory=list)
    """Configs whose last change got no response. A later change sets their state again."""

    async def work(self, seconds: float) -> None:
        self.enabled |= dict.fromkeys(self.system.config_ids, True)
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self.random.uniform(*_PAUSE))
            await self._one_action()

    async def _one_action(self) -> None:
        if self.unanswered and self.random.random() < 0.5:
            await self._set(self.unanswered.pop(0), enabled=True)
            return
        config_id = self.random.choice(list(self.enabled))
        match self.random.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]:
            case "trigger":
                await self._call("trigger", "POST", f"/configs/{config_id}/trigger", config_id=config_id)
            case "switch":
                await self._set(config_id, enabled=not self.enabled[config_id] or not self._may_disable_one())
            case "timeframes":
                await self._set(config_id, timeframes=self.random.choice((["1m"], ["1m", "5m"])))
            case "interval":
                await self._set(config_id, interval_minutes=self.random.choice((1, 1, 2)))
            case "create":
                await self._create()
            case "delete" if self._may_disable_one():
                await self._delete(config_id)

    def _may_disable_one(self) -> bool:
        return sum(self.enabled.values()) > _MIN_ENABLED_SHARE * len(self.system.config_ids)

    async def _create(self) -> None:
        if not self.spare:
            return
        exchange, symbol = self.spare.pop(0)
        body = {"exchange": exchange, "symbol": symbol, "timeframes": ["1m"], "interval_minutes": 1}
        call = await self._call("create", "POST", "/configs", body)
        if call.config_id is not None:
            self.enabled[call.config_id] = True

    async def _delete(self, config_id: int) -> None:
        call = await self._call("delete", "DELETE", f"/configs/{config_id}", config_id=config_id)
        if call.outcome == "unknown":
            self.unanswered.append(config_id)
        else:
            self.enabled.pop(config_id)

    async def _set(self, config_id: int, **changes: Any) -> None:
        call = await self._call("update", "PUT", f"/configs/{config_id}", changes, config_id=config_id)
        match call.outcome:
            case "ok":
                self.enabled[config_id] = bool(call.enabled)
            case "unknown":
                self.unanswered.append(config_id)
            case "failed":
                self.enabled.pop(config_id, None)  # deleted by a call that got no response

    async def _call(self, *arguments: Any, **options: Any) -> Call:
        return await self.system.call(*arguments, **options, api=self.random.choice(self.apis))
