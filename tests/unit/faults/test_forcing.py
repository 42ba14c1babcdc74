import itertools

import pytest

from support.faults.forcing import until_forced


async def test_an_attempt_is_repeated_until_the_fault_has_happened() -> None:
    attempts = itertools.count(1)

    async def third_time() -> bool:
        return next(attempts) == 3

    await until_forced("a fault", third_time, tries=4)
    assert next(attempts) == 4


async def test_a_fault_that_never_happens_fails_the_test_with_its_name() -> None:
    attempts = itertools.count(1)

    async def never() -> bool:
        return next(attempts) > 4

    with pytest.raises(pytest.fail.Exception, match="could not be forced in 4 tries: a rare fault"):
        await until_forced("a rare fault", never, tries=4)
    assert next(attempts) == 5
