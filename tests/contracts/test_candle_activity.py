"""Trades and quote volumes are beside the rows, so that an earlier release can read the event."""

import pytest
from pydantic import ValidationError

from contracts.candles import CandlesCollected
from support.fetches import a_candle, a_fetch


def test_the_rows_keep_six_values() -> None:
    document = a_fetch(a_candle(), trades=(7,), quote_volumes=(1.5,)).model_dump(mode="json")
    assert [len(row) for row in document["rows"]] == [6]
    earlier = {name: value for name, value in document.items() if name not in ("trades", "quote_volumes")}
    assert CandlesCollected.model_validate(earlier).trades == ()


@pytest.mark.parametrize("changes", [{"trades": (1, 2)}, {"quote_volumes": (1.0, 2.0)}, {"trades": (-1,)}])
def test_values_that_do_not_fit_the_rows_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        a_fetch(a_candle(), **changes)
