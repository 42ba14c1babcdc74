"""Queries on the run log: lists, statistics and reports."""
