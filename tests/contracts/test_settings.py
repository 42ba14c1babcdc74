from pathlib import Path

import pytest

from local_stack.env_example import PATH, settings_by_service, text

REPOSITORY = Path(__file__).parents[2]
SERVICES = settings_by_service()


def test_env_example_is_current() -> None:
    stale = (REPOSITORY / PATH).read_text() != text(SERVICES)
    assert not stale, f"{PATH} is stale; run `make generate`"


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_has_a_description(service: str) -> None:
    assert [setting.variable for setting in SERVICES[service] if not setting.description] == []


def test_services_that_publish_ticks_have_the_same_settings_for_lanes_and_deadlines() -> None:
    for variable in ("EXCHANGE_LANES", "RUN_DEADLINE_SECONDS"):
        publishers = {"admin-api", "scheduler", "backfiller"}
        assert len({setting for name in publishers for setting in SERVICES[name] if setting.variable == variable}) == 1
