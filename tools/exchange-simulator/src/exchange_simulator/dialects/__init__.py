"""One module per exchange. A dialect is pure: the request and the time determine the reply."""
