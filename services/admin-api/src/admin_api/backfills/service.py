"""Creates, pauses, resumes and cancels backfills, in the caller's unit of work."""

from collections.abc import Sequence
from typing import Final, Literal

import sqlalchemy as sa

from admin_api.backfills.estimates import estimate
from admin_api.backfills.queries import fetch_backfill
from admin_api.backfills.schemas import Backfill, DryRun, NewBackfill, State
from admin_api.backfills.selection import select_series
from admin_api.backfills.targets import SeriesNames, WantedRange, read_targets
from admin_api.http.errors import BackfillCancelled, FieldError, InvalidInput
from admin_api.http.etags import EntityTags, require_match
from admin_api.writes.audit_log import AuditRecord
from admin_api.writes.outbox import Announcement, announcement
from admin_api.writes.unit_of_work import UnitOfWork
from contracts.backfills import BackfillChange, BackfillChanged
from contracts.coverage import to_milliseconds
from contracts.exchange_catalogue import MarketKind, load_catalogue, market_kind
from contracts.pages import EARLIEST
from contracts.topics import BACKFILL_EVENTS
from store.tables import backfill_series, backfills

Action = Literal["pause", "resume", "cancel"]
_STATES: Final[dict[Action, State]] = {"pause": "paused", "resume": "active", "cancel": "cancelled"}
_CHANGES: Final[dict[Action, BackfillChange]] = {
    "pause": BackfillChange.PAUSED,
    "resume": BackfillChange.RESUMED,
    "cancel": BackfillChange.CANCELLED,
}


async def create_backfill(unit: UnitOfWork, wanted: NewBackfill) -> Backfill | DryRun:
    """Raises `InvalidInput`, `NotFound`, `BulkRolledBack`."""
    end = unit.now if wanted.end is None else min(wanted.end, unit.now)
    if end <= EARLIEST:
        detail = f"must be after {EARLIEST:%Y-%m-%d}: no exchange has older candles"
        raise InvalidInput.of([FieldError("#/end", detail)])
    if wanted.start is not None and wanted.start >= end:
        raise InvalidInput.of([FieldError("#/start", f"must be before the end, {end:%Y-%m-%dT%H:%M:%SZ}")])
    series = await select_series(unit.connection, wanted)
    if wanted.source == "trades":
        _require_tapes(series)
    if wanted.dry_run:
        wanted_range = WantedRange(wanted.start, end, wanted.mode, wanted.source)
        targets = await read_targets(unit.connection, series, wanted_range, unit.now)
        found = estimate(targets, to_milliseconds(unit.now))
        return DryRun(start=wanted.start, end=end, mode=wanted.mode, source=wanted.source, estimate=found)
    row = {
        "selector": wanted.selector(),
        "starts_at": wanted.start,
        "ends_at": end,
        "mode": wanted.mode,
        "source": wanted.source,
        "description": wanted.description,
        "created_by": unit.actor.name,
        "created_at": unit.now,
        "updated_at": unit.now,
    }
    insert = sa.insert(backfills).values(row).returning(backfills.c.id)
    backfill_id = (await unit.connection.execute(insert)).scalar_one()
    rows = [{"backfill_id": backfill_id, **each._asdict()} for each in series]
    await unit.connection.execute(sa.insert(backfill_series), rows)
    backfill = await fetch_backfill(unit.connection, backfill_id)
    unit.announce(_announcement(backfill, BackfillChange.CREATED))
    unit.record(_audit_record("create", None, backfill))
    unit.log_after_commit(
        "Backfill created", action="backfill_created", backfill_id=backfill_id, series=len(series), mode=wanted.mode
    )
    return backfill


def _require_tapes(series: Sequence[SeriesNames]) -> None:
    """Raises `InvalidInput` for the first series whose trades cannot be requested with sequential ids."""
    exchanges = load_catalogue().exchanges
    for each in series:
        entry, kind = exchanges.get(each.exchange), market_kind(each.symbol)
        if entry is None or kind is None or kind not in entry.tape_weight:
            able = ", ".join(sorted(name for name, known in exchanges.items() if MarketKind.SPOT in known.tape_weight))
            detail = (
                f"{each.symbol} of {each.exchange} cannot be built from trades: no request for its old trades with "
                f"sequential ids is known, so nothing would show that no trade is missing. Possible are spot markets "
                f"of {able}."
            )
            raise InvalidInput.of([FieldError("#/source", detail)])


async def change_state(unit: UnitOfWork, backfill_id: int, action: Action, expected: EntityTags | None) -> Backfill:
    """Change the state of a backfill. If it already has this state, nothing changes. After a change, the backfiller
    plans the series again.

    Raises `NotFound`, `VersionMismatch`, `BackfillCancelled`.
    """
    before = await fetch_backfill(unit.connection, backfill_id, lock=True)
    require_match(expected, before.version)
    state = _STATES[action]
    if before.state == state:
        return before
    if before.state == "cancelled":
        raise BackfillCancelled(f"Backfill {backfill_id} is cancelled; create another one for the same range.")
    values = {"state": state, "version": before.version + 1, "updated_at": unit.now}
    await unit.connection.execute(sa.update(backfills).where(backfills.c.id == backfill_id).values(values))
    after = before.model_copy(update=values)
    unit.announce(_announcement(after, _CHANGES[action]))
    unit.record(_audit_record(action, before, after))
    unit.log_after_commit("Backfill changed", action="backfill_changed", backfill_id=backfill_id, state=state)
    return after


def _announcement(backfill: Backfill, change: BackfillChange) -> Announcement:
    event = BackfillChanged(
        occurred_at=backfill.updated_at, backfill_id=backfill.id, change=change, version=backfill.version
    )
    return announcement(BACKFILL_EVENTS, event)


def _audit_record(action: str, before: Backfill | None, after: Backfill) -> AuditRecord:
    return AuditRecord(
        action=f"backfill.{action}",
        object_type="backfill",
        object_id=str(after.id),
        before=before.model_dump(mode="json") if before else None,
        after=after.model_dump(mode="json"),
    )
