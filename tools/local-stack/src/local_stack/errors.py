class StackError(Exception):
    """An error that the user can correct. It is printed as one line, without a traceback."""
