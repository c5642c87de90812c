"""Predict one image."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from server.database import session_scope
from server.deps import Predict, RedisDep, SessionDep, SettingsDep
from server.predictions import service
from server.predictions.schemas import PredictionOut
from server.predictions.uploads import MULTIPART, PART, read_image

router = APIRouter(tags=["predictions"])

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": [PART],
                    "properties": {PART: {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "description": "base64, or a data: URL"}},
                }
            },
        },
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    409: {"description": "The version was made on another kind of device; the message names the mend."},
    413: {"description": "The image is larger than a limit, which the message states."},
    415: {"description": "Not an image that can be read."},
    422: {"description": "No image in the body, a damaged one, broken base64, or top_k below 1."},
    503: {"description": "No predictor answers in time. Try again after `Retry-After` seconds."},
}


async def get_image(request: Request, _: Predict, settings: SettingsDep) -> bytes:
    """The image of the request, read once it is clear who sends it."""
    return await read_image(request, settings.max_image_mib)


@router.post(
    "/projects/{project_id}/predictions",
    openapi_extra=BODY,
    responses={200: {"model": PredictionOut}, **ERRORS},
)
def predict(
    access: Predict,
    session: SessionDep,
    settings: SettingsDep,
    redis: RedisDep,
    image: Annotated[bytes, Depends(get_image)],
    top_k: Annotated[int, Query(ge=1, description="at most as many as there are categories")] = 5,
) -> JSONResponse:
    """What the current model says of an image, by the newest class memory."""
    # The connection goes back to the pool while the predictor works.
    session.commit()
    reply = service.ask(redis, settings, access.project.id, image, top_k)
    if reply is None:
        return JSONResponse(service.describe_unscored(image, settings.max_image_megapixels))
    with session_scope(settings.database_url) as names:
        return JSONResponse(service.describe(names, access.project.id, reply))
