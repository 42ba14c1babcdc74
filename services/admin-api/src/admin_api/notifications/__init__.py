"""Notifications without Prometheus: problems in the database become messages to the receivers of NOTIFY_URLS."""
