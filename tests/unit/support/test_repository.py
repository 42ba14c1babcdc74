from pathlib import Path

from support.repository import own_files


def test_files_that_tools_write_while_tests_run_are_left_out(tmp_path: Path) -> None:
    names = [
        *("Makefile", ".ci/run", ".github/workflows/ci.yml", "src/a.py", "tests/test_a.py"),
        *(".cache/kafka", "src/__pycache__/a.cpython-311.pyc.140522977929680", "dashboard/node_modules/a.js", "dist/a"),
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {str(path.relative_to(tmp_path)) for path in own_files(tmp_path)} == set(names[:5])
