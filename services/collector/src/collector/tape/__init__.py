"""Candles built from the trades of an exchange, for time of which it no longer offers candles."""
