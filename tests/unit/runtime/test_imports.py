import gc
import subprocess
import sys

import pytest

from runtime.imports import without_garbage_collection


def test_garbage_is_collected_again_after_imports_also_after_an_error() -> None:
    with pytest.raises(ImportError), without_garbage_collection():
        _fail_to_import()
    assert gc.isenabled()


def _fail_to_import() -> None:
    assert not gc.isenabled()
    raise ImportError


def test_the_api_is_imported_without_collections() -> None:
    """Measured by the collector's own counts, so the speed of the machine does not matter."""
    program = "import gc, admin_api.__main__; print(gc.isenabled(), gc.get_stats()[2]['collections'])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    enabled, collections = shown.stdout.split()
    assert enabled == "True"
    assert int(collections) <= 1
