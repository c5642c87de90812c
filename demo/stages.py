"""The steps from an empty project to a filled queue, each waited for."""

import io
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from demo.client import Client, Json, ServiceError
from demo.dataset import Dataset
from demo.errors import DemoError
from demo.sources import Example

POLL_SECONDS = 0.25
STALL_SECONDS = 180.0
KNOWN_BATCH = "Known classes"
POOL_BATCH = "Not yet labelled"
# Pictures of one zip; a larger import is cut, because a request has a limit.
ZIP_BYTES = 64 * 1024 * 1024
POOL_DIGITS = 6
# The queue admits at least three rounds of pictures by free energy before it spreads its choice. In a pool
# of a few hundred, rounds of the default size would admit all of them.
ROUNDS, SMALLEST_ROUND, LARGEST_ROUND = 16, 8, 64

Say = Callable[[str], None]


def new_project(client: Client, name: str, description: str, dataset: Dataset) -> str:
    """An empty project, its rounds fitted to the size of the pool; its id."""
    size = min(LARGEST_ROUND, max(SMALLEST_ROUND, len(dataset.pool) // ROUNDS))
    return str(client.create_project(name, description, size)["id"])


def import_known(client: Client, project: str, dataset: Dataset, say: Say) -> None:
    """Upload the training pictures as zips of class folders, and wait until they are taken in."""
    say(f"Importing {len(dataset.train)} labelled pictures of {len(dataset.known)} classes")
    batch = client.upload(project, KNOWN_BATCH, "labelled", _zips(dataset))
    wait_for_batch(client, project, batch, say)


def train(client: Client, project: str, say: Say) -> None:
    """Train on the labels and wait until the new version answers."""
    say("Training")
    try:
        version = client.train(project)
    except ServiceError as error:
        running = [one for one in client.versions(project) if one["status"] in ("QUEUED", "TRAINING")]
        if error.code != "training-already" or not running:
            raise
        version = running[0]

    def is_active() -> bool:
        now = client.version(project, version["id"])
        if now["status"] in ("FAILED", "CANCELLED"):
            raise DemoError(f"Training ended as {now['status']}: {now['error'] or 'no reason was given'}")
        return bool(now["status"] == "ACTIVE")

    wait_until(client, project, is_active, say)


def upload_pool(client: Client, project: str, dataset: Dataset, say: Say) -> None:
    """Upload the unlabelled pictures and wait until each waits in the queue, in its order."""
    say(f"Uploading {len(dataset.pool)} unlabelled pictures")
    names = pool_names(dataset)
    files = ((name, dataset.source.read(example.path)) for name, example in names.items())
    batch = client.upload(project, POOL_BATCH, "unlabelled", files)
    wait_for_batch(client, project, batch, say)
    wait_until(client, project, lambda: client.queue(project)["waiting"] > 0, say)


def pool_names(dataset: Dataset) -> dict[str, Example]:
    """Names under which the pool is uploaded. They do not tell the class."""
    return {
        f"{at:0{POOL_DIGITS}d}{PurePosixPath(example.path).suffix.lower()}": example
        for at, example in enumerate(dataset.pool)
    }


def active_version(client: Client, project: str) -> Json:
    """The version that answers at present."""
    for version in client.versions(project):
        if version["status"] == "ACTIVE":
            return version
    raise DemoError("The project has no active model version. Train one on its Models page.")


def wait_for_batch(client: Client, project: str, batch: Json, say: Say) -> None:
    """Wait until a batch is unpacked and scored. Says which files were refused."""

    def is_scored() -> bool:
        now = client.batch(project, batch["id"])
        if now["status"] == "FAILED":
            reasons = [job["error"] for job in now["jobs"] if job["error"]]
            raise DemoError(f"The batch {now['name']} failed: {'; '.join(reasons) or 'see the log'}")
        return bool(now["status"] == "SCORED")

    wait_until(client, project, is_scored, say)
    refused = client.batch(project, batch["id"])["counts"]["refused"]
    if refused:
        say(f"{refused} files of {batch['name']} were refused; its page says why")


def wait_until(client: Client, project: str, is_done: Callable[[], bool], say: Say) -> None:
    """Return once ``is_done`` holds and nothing works in the project's background any more.

    Raises :class:`DemoError` when nothing has moved for three minutes.
    """
    last: object = None
    last_move = time.monotonic()
    told: set[tuple[str, int]] = set()
    while True:
        jobs = client.unfinished_jobs(project)
        if is_done() and not jobs:
            return
        state = [(job["id"], job["state"], job["done"]) for job in jobs]
        if state != last:
            last, last_move = state, time.monotonic()
        elif time.monotonic() - last_move > STALL_SECONDS:
            raise DemoError(
                f"Nothing has moved for {STALL_SECONDS:.0f} seconds. Is the worker running? "
                "Its log says more."
            )
        for line in _news(jobs, told):
            say(line)
        time.sleep(POLL_SECONDS)


def _news(jobs: list[Json], told: set[tuple[str, int]]) -> Iterator[str]:
    """A line for every quarter that a job has passed."""
    for job in jobs:
        quarter = 4 * job["done"] // job["total"] if job["total"] else 0
        if 0 < quarter < 4 and (job["id"], quarter) not in told:
            told.add((job["id"], quarter))
            yield f"  {job['kind'].lower()}: {job['done']} of {job['total']}"


def _zips(dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    for number, part in enumerate(_by_size(dataset), 1):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in part:
                archive.writestr(name, content)
        yield f"known-{number}.zip", stream.getvalue()


def _by_size(dataset: Dataset) -> Iterator[list[tuple[str, bytes]]]:
    part: list[tuple[str, bytes]] = []
    size = 0
    for name, content in _members(dataset.train, dataset.source.read):
        if part and size + len(content) > ZIP_BYTES:
            yield part
            part, size = [], 0
        part.append((name, content))
        size += len(content)
    if part:
        yield part


def _members(examples: Iterable[Example], read: Callable[[str], bytes]) -> Iterator[tuple[str, bytes]]:
    for at, example in enumerate(examples):
        yield f"{example.category}/{at:06d}-{PurePosixPath(example.path).name}", read(example.path)
