"""How many random inputs a test tries: fewer in `make test`, many in `make test-deep`."""

import os
from typing import Final

IS_DEEP: Final = os.environ.get("TEST_DEPTH") == "deep"


def tries(usual: int, *, deep: int) -> int:
    """The number for this run. Mark the test with `deep`, so that `make test-deep` runs it."""
    return deep if IS_DEEP else usual
