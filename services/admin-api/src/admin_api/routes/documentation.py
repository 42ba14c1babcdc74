"""The page `/docs`: Swagger UI. All its files come from this API, and it has no inline script."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)

_FILES: Final = Path(__file__).parents[1] / "documentation"


@router.get("/docs")
async def documentation_page() -> FileResponse:
    """The page. Its links are relative, so that they also work behind a proxy that adds a prefix."""
    return FileResponse(_FILES / "page.html")


@router.get("/docs/start.js")
async def documentation_script() -> FileResponse:
    return FileResponse(_FILES / "start.js", media_type="text/javascript")
