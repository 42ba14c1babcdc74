"""Lines that a run of the deployment tests shows at its end: stand-ins, durations, sizes."""

LINES: list[str] = []


def say(line: str) -> None:
    LINES.append(line)
