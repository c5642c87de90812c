"""What the speed benchmarks share: a machine's description, spreads, tables, and the service to measure."""

import argparse
import json
import logging
import os
import platform
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import structlog
from PIL import Image as Pictures
from sqlalchemy.orm import Session

import migrations
from server import embedded
from server.database import engine_for, session_scope
from server.exploration import vectors
from server.exploration.scores import pack
from server.jobs import SCORE_BATCH, celery_app, enqueue
from server.settings import get_settings
from server.tables import Batch, BatchKind, Image, JobKind, Project
from server.work import service as work

DIM = 1280


def machine() -> str:
    """Processor, cores and how busy they were: figures of a shared machine say little without that."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load average {load:.1f} at the start"


@dataclass(frozen=True)
class Spread:
    """Median, 5th and 95th percentile and number of some measurements."""

    p50: float
    p5: float
    p95: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        p5, p50, p95 = np.percentile(values, [5, 50, 95])
        return cls(float(p50), float(p5), float(p95), len(values))


@dataclass
class Report:
    """Rows of name, spread, unit and remark; printed as a table, kept as JSON."""

    title: str
    rows: list[tuple[str, Spread, str, str]]
    machine: str

    @classmethod
    def begin(cls, title: str) -> "Report":
        return cls(title, [], machine())

    def add(self, name: str, values: Sequence[float], unit: str, remark: str = "") -> Spread:
        spread = Spread.of(values)
        self.rows.append((name, spread, unit, remark))
        print(
            f"{name:<44} {spread.p50:>9.2f} {unit:<9} p5 {spread.p5:>8.2f}  p95 {spread.p95:>8.2f}"
            f"  n {spread.n:>5}  {remark}",
            flush=True,
        )
        return spread

    def write(self, path: Path | None) -> None:
        if path is None:
            return
        rows = [
            {"name": name, "unit": unit, "remark": remark, **vars(spread)}
            for name, spread, unit, remark in self.rows
        ]
        content = {"title": self.title, "machine": self.machine, "rows": rows}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def parser(description: str) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--json", type=Path, help="also write the figures to this file")
    return found


def begin(title: str) -> Report:
    """Print what is measured where; from here on only warnings are logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    report = Report.begin(title)
    print(f"{title}\n{report.machine}\n", flush=True)
    return report


@contextmanager
def stack() -> Iterator[Any]:
    """The whole service as processes, as the tests start it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from stack import Stack  # type: ignore[import-not-found]

    with TemporaryDirectory(prefix="newfound-benchmark-") as folder:
        Path(folder).chmod(0o755)
        with Stack(Path(folder) / "home") as running:
            take_settings(running.environment)
            yield running


@contextmanager
def services() -> Iterator[None]:
    """PostgreSQL and Redis alone, for a benchmark that does the worker's part itself."""
    with TemporaryDirectory(prefix="newfound-benchmark-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        with embedded.start(home) as running:
            migrations.upgrade(running.database_url)
            take_settings(
                {
                    "NEWFOUND_HOME": str(home),
                    "NEWFOUND_DATABASE_URL": running.database_url,
                    "NEWFOUND_REDIS_URL": running.redis_url,
                }
            )
            yield
            engine_for(running.database_url).dispose()


def take_settings(environment: dict[str, str]) -> None:
    """Let this process send its jobs to the same broker as the service."""
    os.environ.update({name: value for name, value in environment.items() if name.startswith("NEWFOUND_")})
    get_settings.cache_clear()
    celery_app.cache_clear()


def add_points(
    session: Session,
    project_id: uuid.UUID,
    runtime_key: str,
    features: "np.ndarray[Any, np.dtype[np.float32]]",
    category_id: uuid.UUID | None = None,
) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """A batch of images that have their features f32[N,1280] already; asks for their scores."""
    kind = BatchKind.LABELLED if category_id else BatchKind.UNLABELLED
    batch = Batch(project_id=project_id, name="benchmark", kind=kind)
    session.add(batch)
    session.flush()
    ids = [uuid.uuid4() for _ in features]
    session.add_all(
        Image(
            id=image_id,
            project_id=project_id,
            batch_id=batch.id,
            sha256=uuid.uuid4().hex * 2,
            name=f"{at:06}.jpg",
            media_type="image/jpeg",
            byte_size=1,
            width=640,
            height=480,
            category_id=category_id,
        )
        for at, image_id in enumerate(ids)
    )
    session.flush()
    vectors.write_features(session, runtime_key, pack(ids), features)
    work.request_job(session, JobKind.SCORE, project_id, batch.id)
    enqueue(session, SCORE_BATCH, str(batch.id))
    return batch.id, ids


def add_project(url: str, name: str) -> uuid.UUID:
    with session_scope(url) as session:
        project = Project(name=name)
        session.add(project)
        session.flush()
        return project.id


def look_alikes(kinds: int, count: int, seed: int = 0) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Features f32[count,1280] around ``kinds`` places, in random order."""
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(1).standard_normal((kinds, DIM))
    return (middles[rng.integers(kinds, size=count)] + rng.standard_normal((count, DIM))).astype(np.float32)


def photograph(seed: int, size: tuple[int, int] = (1024, 768)) -> bytes:
    """A JPEG with the detail of a photograph: coarse noise under fine noise."""
    rng = np.random.default_rng(seed)
    coarse = Pictures.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(size)
    fine = rng.normal(0, 12, (size[1], size[0], 3))
    pixels = np.clip(np.asarray(coarse, np.float32) + fine, 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Pictures.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def timed(act: Callable[[], object]) -> float:
    """Seconds of wall time that ``act`` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
