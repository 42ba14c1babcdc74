"""Plays many histories with a seed."""

from hypothesis import HealthCheck, Phase, given, seed, settings

from support.coverage_model.histories import History, histories
from support.coverage_model.world import Rules, play


def hypothesis_settings(count: int, *, shrinks: bool = True, derandomize: bool = False) -> settings:
    """No deadline per history, because a loaded machine is slow. A history is large on purpose. `derandomize`: the same
    histories in every run.
    """
    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=derandomize,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def search(rules: Rules, *, number: int, count: int, shrinks: bool = False) -> None:
    """Play `count` histories, the same ones for each seed `number`. Raises the first `Disagreement`."""

    @seed(number)
    @hypothesis_settings(count, shrinks=shrinks)
    @given(histories())
    def plays(history: History) -> None:
        play(history, rules)

    plays()
