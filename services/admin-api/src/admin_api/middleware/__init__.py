"""ASGI middleware: authentication, rate limits, body limits, security headers, and their order."""
