"""The built dashboard: its files, and which requests get them."""
