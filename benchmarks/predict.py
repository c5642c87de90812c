"""What a prediction over HTTP costs above the bare decode and forward pass, for 1, 8 and 32 clients.

``python -m benchmarks.predict [--requests N] [--rounds N] [--json FILE]``

Bare is the same decode, forward pass and scores by function calls in this process, by as many callers at
once as the service has clients, on as many threads as the worker has: clients of a busy service wait for
each other, whoever serves them. Rounds of the two alternate.
"""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import harness
from server.database import session_scope
from server.exploration.scores import pack
from server.model_versions import service as versions
from server.settings import get_settings
from server.tables import JobKind
from server.work import service as work
from worker.engine import Engine
from worker.pictures import open_new
from worker.recognition import Current, rounded

CLIENTS = (1, 8, 32)
MAX_PIXELS = 100_000_000


def main() -> None:
    """Measure and report."""
    parser = harness.parser("Speed of predictions")
    parser.add_argument("--requests", type=int, default=320, help="requests per round and number of clients")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with harness.stack() as running:
        engine = Engine(get_settings())
        try:
            report = measure(running, engine, options.requests, options.rounds)
        finally:
            engine.close()
    report.write(options.json)


def measure(running: Any, engine: Engine, requests: int, rounds: int) -> harness.Report:
    """Latencies of service and bare calls, alternating."""
    project_id = prepare_project(running, engine)
    files = [harness.photograph(seed) for seed in range(16)]
    report = harness.begin(f"Predictions of 1024 × 768 px JPEGs, {requests} requests × {rounds} rounds")
    bare_call = bare(engine, project_id)
    with running.client() as client:
        url = f"/api/v1/projects/{project_id}/predictions"

        def service_call(file: bytes) -> None:
            answer = client.post(url, files={"file": ("a.jpg", file, "image/jpeg")})
            answer.raise_for_status()

        for clients in CLIENTS:
            served: list[float] = []
            called: list[float] = []
            for _ in range(rounds):
                called += latencies(bare_call, files, clients, requests)
                served += latencies(service_call, files, clients, requests)
            above = report.add(f"bare, {clients} at once", called, "ms")
            over = report.add(f"over HTTP, {clients} clients", served, "ms")
            report.add(f"above bare at p50, {clients}", [over.p50 - above.p50], "ms", "wanted: 10")
    return report


def prepare_project(running: Any, engine: Engine) -> uuid.UUID:
    """A project with a version, scored by the service."""
    project_id = harness.add_project(engine.url, "predictions")
    with session_scope(engine.url) as session:
        batch_id, _ = harness.add_points(
            session, project_id, engine.extractor.key, harness.look_alikes(20, 400)
        )
    while True:
        with session_scope(engine.url) as session:
            if work.find_unfinished(session, JobKind.SCORE, batch_id) is None:
                return project_id
        time.sleep(0.1)


def bare(engine: Engine, project_id: uuid.UUID) -> Callable[[bytes], None]:
    """Decode, forward pass and scores of one image; as many at once as the worker has threads."""
    with session_scope(engine.url) as session:
        version = versions.find_active(session, project_id)
        assert version is not None
        current: Current = engine.recognition.current(session, version, 0.02)
    pool = ThreadPoolExecutor(engine.settings.worker_threads)
    ids = pack([uuid.uuid4()])

    def compute(file: bytes) -> None:
        _, image = open_new(file, MAX_PIXELS)
        features = engine.extractor.extract(engine.extractor.preprocess(image)[None])
        current.score(ids, current.embed(rounded(features)))

    return lambda file: pool.submit(compute, file).result()


def latencies(call: Callable[[bytes], None], files: list[bytes], clients: int, requests: int) -> list[float]:
    """Milliseconds of each of ``requests`` calls by ``clients`` that each send the next when the last is
    answered. The first calls of each client only warm up."""

    def client(at: int) -> list[float]:
        own = []
        for number in range(2 + requests // clients):
            file = files[(at + number) % len(files)]
            own.append(1000 * harness.timed(lambda file=file: call(file)))  # type: ignore[misc]
        return own[2:]

    with ThreadPoolExecutor(clients) as pool:
        return [float(value) for values in pool.map(client, range(clients)) for value in values]


if __name__ == "__main__":
    main()
