"""The receivers of notifications: their addresses and settings, the quiet hours, and the sending by Apprise."""
