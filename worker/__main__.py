"""``python -m worker --queue score|train``: one worker process.

``score``: ingest, score, class memory, queue, and beside them the loops that answer predictions.
``train``: trainings alone, one after the other.
"""

import argparse
import logging as standard_logging
import sys
import warnings

from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_ready, worker_shutting_down

from server import logging
from server.jobs import LIVE_QUEUE, SCORE_QUEUE, TRAIN_QUEUE, worker_name
from server.settings import get_settings
from worker.predictors import Predictors
from worker.tasks import app, engine

# Threads beside those that compute: class memory, queues, housekeeping.
LIGHT_THREADS = 4
# They write a line for each message and each success; our own events say what was done.
CHATTY = ("celery.worker.strategy", "celery.app.trace")


def main() -> None:
    """Run until SIGTERM; what is being done then is finished or taken up by the next worker."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__.splitlines()[0])
    parser.add_argument("--queue", choices=(SCORE_QUEUE, TRAIN_QUEUE), default=SCORE_QUEUE)
    queue = parser.parse_args().queue
    settings = get_settings()
    settings.require_services()
    logging.configure(settings.log_format)
    setup_logging.connect(_keep_our_logging)
    for name in CHATTY:
        standard_logging.getLogger(name).setLevel(standard_logging.WARNING)
    # Its concern is pickled messages; ours are JSON and nothing else is accepted.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker_shutting_down.connect(_end_soon)
    if queue == TRAIN_QUEUE:
        _consume([TRAIN_QUEUE], 1)
        return
    predictors = Predictors(engine())
    worker_ready.connect(lambda **_: predictors.start(), weak=False)
    try:
        _consume([LIVE_QUEUE, SCORE_QUEUE], settings.worker_threads + LIGHT_THREADS)
    finally:
        predictors.stop()
        engine().close()


def _consume(queues: list[str], threads: int) -> None:
    worker = app.Worker(
        hostname=worker_name(queues[-1]),
        queues=queues,
        pool_cls="threads",
        concurrency=threads,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


def _end_soon(**_: object) -> None:
    engine().stopping.set()


def _keep_our_logging(**_: object) -> None:
    """Celery configures logging by itself unless somebody listens to its signal."""


if __name__ == "__main__":
    main()
