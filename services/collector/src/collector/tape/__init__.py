"""Builds candles from the trades of an exchange, for time for which the exchange no longer offers candles."""
