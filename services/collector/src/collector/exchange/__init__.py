"""Access to the exchanges. Only this package imports ccxt; other packages get Candlekeep's own values and errors."""
