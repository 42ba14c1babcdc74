"""Migrations of a later release."""

import os
from pathlib import Path
from textwrap import indent

from alembic.config import Config

from store.migrate import alembic_config, head_revision

LATER = "a_later_release"


def a_later_release(folder: Path, upgrade: str) -> Config:
    """The config of Alembic with the additional revision `LATER`. `upgrade` is the body of its `upgrade()`.

    `folder` must not exist yet.
    """
    folder.mkdir()
    (folder / "later.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        "from store.online_indexes import create_index, drop_index\n\n"
        f"revision, down_revision = {LATER!r}, {head_revision()!r}\n\n"
        f"def upgrade():\n{indent(upgrade, '    ')}\n"
    )
    config = alembic_config()
    ours = Path(config.get_main_option("script_location") or "") / "versions"
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join([str(ours), str(folder)]))
    return config
