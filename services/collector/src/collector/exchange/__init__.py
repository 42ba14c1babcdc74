"""The border to the exchanges. Only this package imports ccxt; what leaves it are our own values and errors."""
