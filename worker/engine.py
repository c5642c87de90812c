"""What a worker process holds: the network, the image store and the recognisers in use.

One per process, shared by all of its threads.
"""

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import numpy as np
import structlog
from redis import Redis

from model.arrays import F32
from model.images import PictureError
from model.runtime import Extractor, OnnxExtractor, load_extractor
from server.settings import Settings
from server.storage import ImageStore
from server.tables import ModelVersion
from worker.pictures import open_stored
from worker.recognition import Recognition

logger = structlog.get_logger()

# Small batches are fastest on a CPU; a GPU wants large ones.
CPU_BATCH, GPU_BATCH = 8, 64
# Of scoring threads: a prediction, which somebody waits for, gets twice their share of a busy core. More
# would leave scoring next to nothing on a machine with other work to do.
NICENESS = 3


class OtherFeatures(Exception):
    """A version reads features of another kind than this worker computes; the message names the mend."""


class Engine:
    """The parts of a worker process, each made when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = settings.database_url
        self.store = ImageStore(settings.images_folder)
        self.recognition = Recognition(settings.checkpoints_folder)
        self.stopping = threading.Event()
        self._loading = threading.Lock()

    @property
    def extractor(self) -> Extractor:
        """The backbone; loaded once."""
        with self._loading:
            return self._extractor

    @cached_property
    def _extractor(self) -> Extractor:
        return load_extractor(self.settings.device, threads=1, cache_dir=self.settings.home / "cache")

    def require_features_of(self, version: ModelVersion) -> None:
        """Raise :class:`OtherFeatures` unless the version reads features such as this worker computes: on
        others its space and its limits do not hold."""
        if version.runtime_key != self.extractor.key:
            raise OtherFeatures(
                f"v{version.number} reads features of {version.runtime_key}, and this worker computes "
                f"{self.extractor.key}. Run the workers for scores and for training on one kind of device, "
                "then train again."
            )

    @cached_property
    def redis(self) -> Redis:
        """The broker's server, for predictions and small notes between tasks."""
        return Redis.from_url(self.settings.redis_url)

    def close(self) -> None:
        """Let go of threads and connections."""
        self.stopping.set()
        self._pool.shutdown()
        self.redis.close()

    @property
    def batch(self) -> int:
        """Images of one forward pass."""
        return CPU_BATCH if isinstance(self.extractor, OnnxExtractor) else GPU_BATCH

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(
            self.settings.worker_threads, thread_name_prefix="features", initializer=_give_way
        )

    def start_features(self, hashes: Sequence[str]) -> "list[Future[tuple[F32, list[bool]]]]":
        """Begin to compute the features of stored images, ``batch`` at a time.

        Each future gives f32[n,F] of those pictures of its part that could be read, and which could.
        """
        parts = [hashes[at : at + self.batch] for at in range(0, len(hashes), self.batch)]
        return [self._pool.submit(self._features, part) for part in parts]

    def _features(self, hashes: Sequence[str]) -> tuple[F32, list[bool]]:
        extractor = self.extractor
        pixels, readable = [], []
        for sha256 in hashes:
            try:
                pixels.append(extractor.preprocess(open_stored(self.store, sha256)))
                readable.append(True)
            except (PictureError, OSError) as error:
                logger.warning("image_unreadable", sha256=sha256, error=str(error))
                readable.append(False)
        size = extractor.size
        return extractor.extract(np.array(pixels, np.uint8).reshape(-1, size, size, 3)), readable


def _give_way() -> None:
    """Lower this thread's priority; where the system has none per thread, nothing is lost."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
