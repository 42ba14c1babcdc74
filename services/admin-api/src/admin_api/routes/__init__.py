"""The routes: each handler reads the HTTP request, calls one operation or query, and returns its result."""
