"""Generates the exchange catalogue from the requests that ccxt builds. No network access, not used by the service."""
