"""Chunks, demands and a world of exchanges for tests of the backfiller."""
