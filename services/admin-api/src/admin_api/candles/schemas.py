"""Response bodies of candles and stored series."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict


class CandleRow(TypedDict):
    """One closed candle."""

    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    fetched_at: datetime


class StoredSeries(BaseModel):
    """The stored candles of one timeframe of a symbol on an exchange."""

    model_config = ConfigDict(from_attributes=True)

    exchange: str = Field(examples=["binance"])
    symbol: str = Field(examples=["BTC/USDT"])
    timeframe: str = Field(examples=["1m"])
    candles: int = Field(description="The exact number of stored candles.", examples=[43200])
    first_open_time: datetime = Field(description="The open time of the earliest candle.")
    last_open_time: datetime = Field(description="The open time of the latest candle.")
