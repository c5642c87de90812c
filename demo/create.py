"""The demo project: made once, and finished if a former start was cut short."""

from demo.client import Client
from demo.dataset import divide
from demo.sources import Source
from demo.stages import (
    KNOWN_BATCH,
    POOL_BATCH,
    Say,
    import_known,
    new_project,
    train,
    upload_pool,
    wait_until,
)

PROJECT = "Emoji"
DESCRIPTION = (
    "Emoji sorted by their look. 19 classes are known; clocks, moons, flowers, bugs, shoes and buildings "
    "wait in the queue for a name. Pictures: Twemoji, CC BY 4.0."
)
SEED = 0


def create(client: Client, source: Source, say: Say) -> str:
    """Bring the project to a filled queue, doing only what is still missing. Returns its id."""
    found = client.find_project(PROJECT)
    if found is not None and _is_complete(client, found["id"]):
        say(f"The project {PROJECT} is there")
        return str(found["id"])
    dataset = divide(source, SEED)
    project = str(found["id"]) if found else new_project(client, PROJECT, DESCRIPTION, dataset)
    batches = {batch["name"] for batch in client.batches(project)}
    if KNOWN_BATCH not in batches:
        import_known(client, project, dataset, say)
    wait_until(client, project, lambda: True, say)
    if not _is_trained(client, project):
        train(client, project, say)
    if POOL_BATCH not in batches:
        upload_pool(client, project, dataset, say)
    wait_until(client, project, lambda: True, say)
    say(f"The project {PROJECT} is ready: {client.queue(project)['waiting']} pictures wait in its queue")
    return project


def _is_complete(client: Client, project: str) -> bool:
    """Whether the last step was taken; what still runs in the background ends by itself."""
    names = {batch["name"] for batch in client.batches(project)}
    return POOL_BATCH in names and _is_trained(client, project)


def _is_trained(client: Client, project: str) -> bool:
    return any(version["trained_at"] for version in client.versions(project))
