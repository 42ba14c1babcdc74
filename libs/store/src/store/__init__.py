"""Candlekeep's tables and their migrations."""
