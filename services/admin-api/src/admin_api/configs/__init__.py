"""Configs: the operations on one config and on many, claims, the list, and manual runs."""
