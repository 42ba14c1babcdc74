"""Queries on stored candles and on the list of series."""
