"""Backfills: ranges of series that people order. admin-api writes them, and the backfiller requests what is missing."""
