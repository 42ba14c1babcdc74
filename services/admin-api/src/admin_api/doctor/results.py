"""The result of one check."""

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class State(StrEnum):
    """`warning`: it works now, but it may fail later or is not safe."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(BaseModel):
    """One line of the report."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(examples=["topic ticks"])
    state: State
    found: str
    advice: str | None = Field(default=None, description="What to do, unless the state is ok.")

    @property
    def line(self) -> str:
        text = f"{self.state:<8}{self.name}: {self.found}"
        return f"{text}\n        -> {self.advice}" if self.advice else text


def ok(name: str, found: str) -> Check:
    return Check(name=name, state=State.OK, found=found)


def warning(name: str, found: str, advice: str) -> Check:
    return Check(name=name, state=State.WARNING, found=found, advice=advice)


def failed(name: str, found: str, advice: str) -> Check:
    return Check(name=name, state=State.FAILED, found=found, advice=advice)


def exit_code(checks: Iterable[Check]) -> int:
    """1 if a check failed. A warning does not change the exit code, so that a deployment script can continue."""
    return int(any(check.state is State.FAILED for check in checks))
