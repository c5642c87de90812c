"""Whether this process lives, and whether it can do its work."""

import redis.exceptions
import sqlalchemy.exc
from fastapi import APIRouter, Response, status
from redis import Redis
from sqlalchemy import text

from server.database import engine_for
from server.deps import RedisDep, SettingsDep
from server.predictions import service as predictions

router = APIRouter(tags=["health"])


@router.get("/health")
def get_health() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "The database or Redis does not answer."}})
def get_ready(settings: SettingsDep, redis: RedisDep, response: Response) -> dict[str, bool]:
    """Which parts answer. 503 without database or Redis; without a predictor everything else works."""
    parts = {
        "database": has_database(settings.database_url),
        "redis": has_redis(redis),
        "predictor": has_predictor(redis),
    }
    if not (parts["database"] and parts["redis"]):
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return parts


def has_database(url: str) -> bool:
    """Whether the database answers and holds our tables."""
    try:
        with engine_for(url).connect() as connection:
            connection.execute(text("SELECT 1 FROM projects LIMIT 1"))
    except sqlalchemy.exc.SQLAlchemyError:
        return False
    return True


def has_redis(client: Redis) -> bool:
    """Whether Redis answers."""
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


def has_predictor(client: Redis) -> bool:
    """Whether a worker stands ready to predict."""
    try:
        return predictions.has_predictor(client)
    except redis.exceptions.RedisError:
        return False
