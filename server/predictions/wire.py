"""How the web process and the predictor loop talk through Redis. Shared by both, so it is written once.

The web process appends a request to ``REQUESTS`` and waits on a list of its own, ``reply_key(id)``. The
loop takes the first request by ``BLPOP`` and what else waits by ``LPOP count``, and pushes each answer to
its reply list. While it lives it renews ``HEARTBEAT``; without it the web process answers 503 at once.

A request is a line of JSON and then the image file as it came; a reply is one JSON object.
"""

import json
import time
import uuid
from dataclasses import asdict, dataclass, field

REQUESTS = "newfound:predict"
HEARTBEAT = "newfound:predictor"
HEARTBEAT_SECONDS = 3
# An answer that nobody fetches (the client's deadline passed) is dropped after this.
REPLY_SECONDS = 30
# Nothing has been scored in this project yet, so there is no version that could answer.
NO_VERSION = "no-version"
# The version was made on another kind of device than the one that would answer.
OTHER_FEATURES = "other-features"
INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True)
class PredictRequest:
    """One image to predict.

    ``deadline`` is in seconds since the epoch: past it nobody waits, so the loop drops the request. Clocks
    of web and worker machines must agree to well within the deadline, which is some seconds.
    """

    id: str
    project_id: str
    top_k: int
    deadline: float
    image: bytes = field(repr=False)


@dataclass(frozen=True)
class PredictReply:
    """What the current model version says of the image.

    Attributes:
        top: up to ``top_k`` pairs of category id and probability, most probable first.
        nearest: up to five triples of category id, distance and usual limit, nearest first.
        unknown_score: higher = more unknown; known below 0.5.
        width, height: of the upright picture, px.
        notes: what the decoder noticed, for example ``extra-frames``.
    """

    top: list[tuple[str, float]]
    nearest: list[tuple[str, float, float]]
    is_known: bool
    unknown_score: float
    openness: float
    informativeness: float
    free_energy: float
    model_version_id: str
    version_number: int
    memory_revision: int
    width: int
    height: int
    notes: list[str]


@dataclass(frozen=True)
class PredictFailure:
    """Why there is no prediction.

    ``code`` is one of ``PictureError``, ``NO_VERSION``, ``OTHER_FEATURES``, or ``INTERNAL_ERROR`` for a
    fault of ours.
    """

    code: str
    message: str


def new_request(project_id: uuid.UUID, image: bytes, top_k: int, seconds: float) -> PredictRequest:
    """A request that is given up after ``seconds``."""
    return PredictRequest(uuid.uuid4().hex, str(project_id), top_k, time.time() + seconds, image)


def reply_key(request_id: str) -> str:
    """The list that carries the one answer to a request."""
    return f"newfound:reply:{request_id}"


def encode_request(request: PredictRequest) -> bytes:
    """One line of JSON, then the image."""
    header = {
        "id": request.id,
        "project_id": request.project_id,
        "top_k": request.top_k,
        "deadline": request.deadline,
    }
    return json.dumps(header).encode() + b"\n" + request.image


def decode_request(message: bytes) -> PredictRequest:
    """The inverse of ``encode_request``."""
    header, _, image = message.partition(b"\n")
    return PredictRequest(**json.loads(header), image=image)


def encode_reply(reply: PredictReply | PredictFailure) -> bytes:
    """One JSON object."""
    kind = "reply" if isinstance(reply, PredictReply) else "failure"
    return json.dumps({kind: asdict(reply)}, allow_nan=False).encode()


def decode_reply(message: bytes | str) -> PredictReply | PredictFailure:
    """The inverse of ``encode_reply``."""
    content = json.loads(message)
    if "failure" in content:
        return PredictFailure(**content["failure"])
    found = content["reply"]
    found["top"] = [(category, probability) for category, probability in found["top"]]
    found["nearest"] = [(category, distance, limit) for category, distance, limit in found["nearest"]]
    return PredictReply(**found)
