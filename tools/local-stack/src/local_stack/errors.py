class StackError(Exception):
    """What a person at the terminal can act on: one plain line, printed without a traceback."""
