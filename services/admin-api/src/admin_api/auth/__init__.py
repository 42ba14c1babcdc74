"""Authentication and roles: API tokens, sessions, OIDC tokens, the CSRF check and the audit of refused requests."""
