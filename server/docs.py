"""The API's reference page, with every file from this machine: no CDN, no inline script.

Swagger UI comes in the package ``fastapi-offline``; only its files are used.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse

from server.http import CONTENT_SECURITY_POLICY

router = APIRouter(include_in_schema=False)

# Swagger UI's style sheet carries its icons as data: images.
POLICY = CONTENT_SECURITY_POLICY.replace("img-src 'self'", "img-src 'self' data:")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>newfound API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script defer src="docs/swagger-ui-bundle.js"></script>
<script defer src="docs/start.js"></script>
</head>
<body><main id="reference"></main></body>
</html>
"""
START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


@router.get("/api/docs")
def get_page() -> HTMLResponse:
    """The reference page."""
    return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})


@router.get("/api/docs/start.js")
def get_start() -> Response:
    """The page's script."""
    return Response(START, media_type="text/javascript")


def _asset(name: str, media_type: str) -> None:
    @router.get(f"/api/docs/{name}")
    def get_asset() -> FileResponse:
        return FileResponse(assets_folder() / name, media_type=media_type)


for _name, _media_type in ASSETS.items():
    _asset(_name, _media_type)


@lru_cache
def assets_folder() -> Path:
    """Where the package keeps Swagger UI."""
    found = importlib.util.find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise RuntimeError("The package fastapi-offline is not installed.")
    return Path(found.origin).parent / "static"
