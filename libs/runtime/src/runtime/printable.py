"""Texts of exchanges, messages and callers, in a form that is safe to print on a terminal and to store."""


def printable(text: str, instead: str = " ", *, kept: str = "") -> str:
    """Replace each character that is not printable, except those of `kept`.

    Such characters can move the cursor, change colours, or reverse the order of letters. Some of them cannot be stored:
    Postgres does not accept NUL, and JSON does not accept half of a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in kept else instead for each in text)
