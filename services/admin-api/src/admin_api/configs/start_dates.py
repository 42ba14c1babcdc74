"""The start date of a config: the day from which its history is kept complete. Pure."""

from datetime import datetime

from admin_api.http.errors import FieldError, InvalidInput
from admin_api.http.input_types import LISTING


def require_not_future(start_date: str | None, now: datetime) -> None:
    """Raises `InvalidInput` for a day after the current day in UTC. `start_date` has the form of `StartDate`."""
    today = now.date().isoformat()
    if start_date is not None and start_date != LISTING and start_date > today:
        detail = f"{start_date} is in the future; use {today} (today in UTC), an earlier day, or {LISTING}"
        raise InvalidInput.of([FieldError("#/start_date", detail)])
