"""Images per second of the scoring pipeline, stage by stage, beside what decoding and the network allow.

``python -m benchmarks.scoring [--images N] [--rounds N] [--json FILE]``

Each round measures everything once, so a busy moment hits all of it alike; ratios are taken within a
round. The bound is what the cores do when they do nothing but decode and compute. On an idle machine that
is threads / (decode + forward core time); on a busy one it is less, so it is measured by running just that
on the same threads, and the formula stands beside it.
"""

import hashlib
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from sqlalchemy import delete

from benchmarks import harness
from model.backbones import BACKBONES
from model.images import WORKING_SIDE, open_picture
from model.runtime import BACKBONE
from server.database import session_scope
from server.exploration import queries, vectors
from server.exploration.scores import pack
from server.settings import get_settings
from server.tables import Batch, BatchKind, Category, CategoryStatus, Image, JobKind
from server.work import service as work
from worker.engine import Engine
from worker.pictures import open_stored
from worker.recognition import rounded
from worker.scoring import record_scores, score_batch
from worker.updating import update_memory

CATEGORIES = 20
SAMPLE = 64


def main() -> None:
    """Measure and report."""
    parser = harness.parser("Speed of scoring")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with harness.services():
        engine = Engine(get_settings())
        try:
            report = measure(engine, options.images, options.rounds)
        finally:
            engine.close()
    report.write(options.json)


def measure(engine: Engine, count: int, rounds: int) -> harness.Report:
    """All stages in each of ``rounds`` rounds, over ``count`` stored photographs."""
    report = harness.begin(f"Scoring: {count} photographs of 1024 × 768 px, {rounds} rounds")
    hashes = store_photographs(engine, count)
    project_id = prepare_project(engine)
    results: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, value in one_round(engine, project_id, hashes).items():
            results.setdefault(name, []).append(value)
    threads = engine.settings.worker_threads
    for name in ("decode", "forward", "scores", "rows"):
        report.add(name, results[name], "ms/image", "core time of one thread")
    report.add("bare forward", results["bare"], "images/s", f"{threads} threads, nothing else")
    report.add("torch eager, channels_last", results["torch"], "images/s", f"{threads} threads, batch 8")
    report.add("idle bound", results["idle bound"], "images/s", f"{threads} / (decode + forward)")
    report.add("bound", results["bound"], "images/s", "decoding and forward pass alone, as the cores were")
    report.add("pipeline", results["pipeline"], "images/s", "stored image to rows")
    report.add("pipeline over bound", ratio(results, "pipeline", "bound"), "", "wanted: 0.9")
    report.add("pipeline over torch eager", ratio(results, "pipeline", "torch"), "", "wanted: 2.5")
    return report


def ratio(results: dict[str, list[float]], above: str, below: str) -> list[float]:
    """The ratio within each round."""
    return [one / other for one, other in zip(results[above], results[below], strict=True)]


def store_photographs(engine: Engine, count: int) -> list[str]:
    """Originals and working copies in the image store."""
    hashes = []
    for seed in range(count):
        file = harness.photograph(seed)
        hashes.append(hashlib.sha256(file).hexdigest())
        engine.store.add(hashes[-1], file, open_picture(file, target=WORKING_SIDE))
    return hashes


def prepare_project(engine: Engine) -> uuid.UUID:
    """A project whose version can name some categories."""
    project_id = harness.add_project(engine.url, "scoring")
    features = harness.look_alikes(CATEGORIES, 400)
    with session_scope(engine.url) as session:
        batch_id, ids = harness.add_points(session, project_id, engine.extractor.key, features)
    score_all(engine, batch_id)
    for at in range(CATEGORIES):
        with session_scope(engine.url) as session:
            category = Category(
                project_id=project_id, name=f"c{at}", name_key=f"c{at}", status=CategoryStatus.ACTIVE
            )
            session.add(category)
            session.flush()
            session.get_one(Image, ids[at]).category_id = category.id
        update_memory(engine, project_id, category.id)
    return project_id


def score_all(engine: Engine, batch_id: uuid.UUID) -> None:
    """Slices until the batch is done, as the messages would bring them."""
    while True:
        score_batch(engine, batch_id)
        with session_scope(engine.url) as session:
            if work.find_unfinished(session, JobKind.SCORE, batch_id) is None:
                return


def one_round(engine: Engine, project_id: uuid.UUID, hashes: list[str]) -> dict[str, float]:
    """Every figure once: ms of core time per image for stages, images/s for rates."""
    extractor, threads = engine.extractor, engine.settings.worker_threads
    sample = hashes[:SAMPLE]
    began = time.thread_time()
    pixels = np.stack([extractor.preprocess(open_stored(engine.store, one)) for one in sample])
    decode = (time.thread_time() - began) / SAMPLE
    parts = np.split(pixels, SAMPLE // engine.batch)
    began = time.thread_time()
    features = np.concatenate([extractor.extract(part) for part in parts])
    forward = (time.thread_time() - began) / SAMPLE
    scores, rows = database_stages(engine, project_id, features)
    many = parts * 4
    with ThreadPoolExecutor(threads) as pool:
        bare = harness.timed(lambda: list(pool.map(extractor.extract, many)))
    bound = harness.timed(lambda: [future.result() for future in engine.start_features(hashes)])
    pipeline_seconds, count = pipeline(engine, project_id, hashes)
    return {
        "decode": 1000 * decode,
        "forward": 1000 * forward,
        "scores": 1000 * scores,
        "rows": 1000 * rows,
        "bare": len(many) * engine.batch / bare,
        "torch": torch_rate(pixels, threads),
        "idle bound": threads / (decode + forward),
        "bound": len(hashes) / bound,
        "pipeline": count / pipeline_seconds,
    }


def database_stages(engine: Engine, project_id: uuid.UUID, features: Any) -> tuple[float, float]:
    """Seconds per image for scores (arrays only) and for their rows (this thread's part of the writing)."""
    features = rounded(features)
    with session_scope(engine.url) as session:
        version = queries.lock_active(session, project_id)
        assert version is not None
        current = engine.recognition.current(session, version, 0.02)
        ids = pack([uuid.uuid4() for _ in features])
        began = time.thread_time()
        current.score(ids, current.embed(features))
        scores = time.thread_time() - began
    with session_scope(engine.url) as session:
        batch_id, image_ids = harness.add_points(session, project_id, "other", features)
        queries.queue_unscored(session, batch_id)
        version = queries.lock_active(session, project_id)
        assert version is not None
        began = time.thread_time()
        vectors.write_features(session, engine.extractor.key, pack(image_ids), features)
        record_scores(session, engine, version, pack(image_ids), features)
        rows = time.thread_time() - began - scores
        session.execute(delete(Batch).where(Batch.id == batch_id))
    return scores / len(features), rows / len(features)


def pipeline(engine: Engine, project_id: uuid.UUID, hashes: list[str]) -> tuple[float, int]:
    """Seconds from stored images to all of their rows, and how many images."""
    with session_scope(engine.url) as session:
        session.add(batch := Batch(project_id=project_id, name="timed", kind=BatchKind.UNLABELLED))
        session.flush()
        session.add_all(
            Image(
                project_id=project_id,
                batch_id=batch.id,
                sha256=sha256,
                name=sha256,
                media_type="image/jpeg",
                byte_size=1,
                width=1024,
                height=768,
            )
            for sha256 in hashes
        )
        work.request_job(session, JobKind.SCORE, project_id, batch.id)
    seconds = harness.timed(lambda: score_all(engine, batch.id))
    with session_scope(engine.url) as session:
        session.execute(delete(Batch).where(Batch.id == batch.id))
    return seconds, len(hashes)


def torch_rate(pixels: Any, threads: int) -> float:
    """Images/s of the same network in eager torch, in its best layout."""
    import torch

    network = BACKBONES[BACKBONE]().eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs lack it
    torch.set_num_threads(threads)
    with torch.inference_mode():
        batches = [torch.from_numpy(part) for part in np.split(pixels, len(pixels) // 8)]
        network(batches[0])
        seconds = harness.timed(lambda: [network(batch) for batch in batches])
    return len(pixels) / seconds


if __name__ == "__main__":
    main()
