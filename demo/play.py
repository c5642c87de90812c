"""The annotator's part, played truthfully over REST, and what the service makes of it.

Protocol, per seed. A fresh project learns the known classes. The unlabelled pool, in which pictures of
known and of novel classes are mixed, is uploaded. Before any answer the test pictures, which the service
never stores, are predicted: known accuracy and how well the unknown score parts known from novel (AUROC).
Then pictures are claimed from the queue in its own order and answered truly: the first of a novel class by
naming it, all others by their category. Before the next claim the answer is awaited in the class memory and
in the order of the queue, which a person's pace gives by itself; so a figure after n labels means n labels.
From a novel class's first label on, its test pictures are predicted in turn until one is right. When the
class has 1, 3 and 5 labels all its test pictures are predicted among all classes there are at that moment.
The queue is played until each novel class has its labels or nothing waits any more. At the end all test
pictures are predicted once more.
"""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from demo.client import Client, Json, ServiceError
from demo.dataset import Dataset
from demo.errors import DemoError
from demo.sources import Example
from demo.stages import Say, active_version, import_known, new_project, pool_names, train, upload_pool
from model.metrics import auroc

CHECKPOINTS = (1, 3, 5)
THREADS = 8
LIVE_DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.02
# Too large, of another type, or damaged: the service says so of a picture, and it is not its mistake.
UNREADABLE = (413, 415, 422)


@dataclass
class Finding:
    """One novel class as it was found. Times in seconds, accuracies as shares of its test pictures.

    ``found_at``: which answer of the whole play named it. ``first_right_seconds``: from the answer to its
    first label until the service had predicted a test picture as this class; ``first_right_labels``: how
    many labels that took. ``accuracy``: by number of labels.
    """

    category: str
    unseen: int
    labels: int = 0
    found_at: int | None = None
    first_right_seconds: float | None = None
    first_right_labels: int | None = None
    accuracy: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """Predictions of all test pictures at one moment. Shares; ``few_shot`` is NaN without such classes."""

    known: float
    few_shot: float
    novel: float
    known_accepted: float
    novel_rejected: float
    auroc: float


@dataclass(frozen=True)
class Result:
    """What one seed gave."""

    seed: int
    before: Scores
    after: Scores
    findings: tuple[Finding, ...]
    answers: int
    name_checks: int
    unreadable: int
    seconds: float


def play(client: Client, dataset: Dataset, seed: int, labels: int, project_name: str, say: Say) -> Result:
    """Make a project, play its queue as the module's docstring says, and measure."""
    started = time.monotonic()
    project = new_project(client, project_name, "A run of `newfound demo`.", dataset)
    import_known(client, project, dataset, say)
    train(client, project, say)
    upload_pool(client, project, dataset, say)
    with ThreadPoolExecutor(THREADS) as threads:
        player = _Player(client, project, dataset, threads, say)
        before = player.score_tests()
        player.answer_queue(labels)
        after = player.score_tests()
    return Result(
        seed=seed,
        before=before,
        after=after,
        findings=tuple(player.findings.values()),
        answers=player.answers,
        name_checks=player.name_checks,
        unreadable=len(player.unreadable),
        seconds=time.monotonic() - started,
    )


class _Player:
    """One annotator at one queue, who knows the truth."""

    def __init__(
        self, client: Client, project: str, dataset: Dataset, threads: ThreadPoolExecutor, say: Say
    ) -> None:
        self.client = client
        self.project = project
        self.dataset = dataset
        self.threads = threads
        self.say = say
        self.truth = {name: example.category for name, example in pool_names(dataset).items()}
        self.findings = {
            category: Finding(category, len(dataset.unseen(category))) for category in dataset.novel
        }
        self.category_ids = {name: one["id"] for name, one in client.categories(project).items()}
        self.first_answered: dict[str, float] = {}
        self.answers = 0
        self.name_checks = 0
        self.unreadable: set[str] = set()

    def answer_queue(self, labels: int) -> None:
        """Answer until each novel class has ``labels`` labels, or nothing waits."""
        version = str(active_version(self.client, self.project)["id"])
        while any(finding.labels < labels for finding in self.findings.values()):
            task = self.client.claim(self.project)
            if task is None:
                break
            revision = self.client.version(self.project, version)["memory_revision"]
            category = self._truth_of(task)
            answered_at = self._answer(task, category)
            self.answers += 1
            finding = self.findings.get(category)
            if finding is not None:
                self._record(finding, answered_at, revision)
            self._await_order(version, revision)
            if finding is not None and finding.unseen and finding.labels in CHECKPOINTS:
                finding.accuracy[finding.labels] = self._share_right(self.dataset.unseen(category))
            if self.answers % 25 == 0:
                found = sum(one.found_at is not None for one in self.findings.values())
                self.say(f"  {self.answers} answers, {found} of {len(self.findings)} novel classes found")

    def score_tests(self) -> Scores:
        """Predict all test pictures."""
        known = self._predict(self.dataset.known_test)
        novel = self._predict(self.dataset.novel_test)
        few = [(one, said) for one, said in known if one.category in self.dataset.few_shot]
        unknown_scores = [said["unknown_score"] for _, said in (*known, *novel)]
        return Scores(
            known=_share(known),
            few_shot=_share(few),
            novel=_share(novel),
            known_accepted=_mean([said["is_known"] for _, said in known]),
            novel_rejected=_mean([not said["is_known"] for _, said in novel]),
            auroc=auroc(np.asarray(unknown_scores, np.float32), np.arange(len(unknown_scores)) >= len(known)),
        )

    def _truth_of(self, task: Json) -> str:
        name = PurePosixPath(task["image"]["name"]).name
        if name not in self.truth:
            raise DemoError(f"The queue offered {name}, which the demo did not upload.")
        return self.truth[name]

    def _answer(self, task: Json, category: str) -> float:
        """Submit the truth; the monotonic time at which the service had taken it."""
        if category in self.category_ids:
            answer: Json = {"verdict": "KNOWN", "category_id": self.category_ids[category]}
        else:
            answer = {"verdict": "NEW", "name": category}
        receipt = self._submit(task, answer)
        answered_at = time.monotonic()
        self.category_ids[category] = receipt["category"]["id"]
        return answered_at

    def _submit(self, task: Json, answer: Json) -> Json:
        """Send an answer; where the naming check asks, say that it is another thing, which is the truth."""
        seen: set[str] = set()
        while True:
            try:
                return self.client.submit(self.project, task, {**answer, "different_from": sorted(seen)})
            except ServiceError as error:
                candidates = error.details.get("candidates", [])
                asked = {candidate["category_id"] for candidate in candidates}
                if error.code != "name-check" or asked <= seen:
                    raise
                self.name_checks += 1
                seen |= asked

    def _record(self, finding: Finding, answered_at: float, revision: int) -> None:
        finding.labels += 1
        if finding.labels == 1:
            finding.found_at = self.answers
            self.first_answered[finding.category] = answered_at
        if finding.first_right_labels is None:
            right_at = self._first_right(finding.category, revision)
            if right_at is not None:
                finding.first_right_labels = finding.labels
                finding.first_right_seconds = right_at - self.first_answered[finding.category]

    def _first_right(self, category: str, revision: int) -> float | None:
        """When one of the class's test pictures, asked in turn, was first predicted as it.

        None if the service took none of them for it with the label in its memory.
        """
        deadline = time.monotonic() + LIVE_DEADLINE_SECONDS
        while time.monotonic() < deadline:
            revisions = []
            for example, said in self._predict_in_turn(self.dataset.unseen(category)):
                if _top_name(said) == example.category:
                    return time.monotonic()
                revisions.append(said["memory_revision"])
            if not revisions or min(revisions) > revision:
                return None
        raise _not_live()

    def _await_order(self, version: str, revision: int) -> None:
        """Wait until the answer is in the class memory and the queue is arranged by it."""
        deadline = time.monotonic() + LIVE_DEADLINE_SECONDS
        while True:
            now = self.client.version(self.project, version)
            if revision < now["memory_revision"] <= now["scored_revision"]:
                return
            if time.monotonic() > deadline:
                raise _not_live()
            time.sleep(POLL_SECONDS)

    def _share_right(self, examples: Sequence[Example]) -> float:
        return _share(self._predict(examples))

    def _predict(self, examples: Sequence[Example]) -> list[tuple[Example, Json]]:
        """Predictions of pictures, several at once; one that cannot be read is counted and left out."""
        said = self.threads.map(self._predict_one, examples)
        return [(one, answer) for one, answer in zip(examples, said, strict=True) if answer is not None]

    def _predict_in_turn(self, examples: Sequence[Example]) -> Iterator[tuple[Example, Json]]:
        for one in examples:
            answer = self._predict_one(one)
            if answer is not None:
                yield one, answer

    def _predict_one(self, example: Example) -> Json | None:
        picture = self.dataset.source.read(example.path)
        try:
            return self.client.predict(self.project, PurePosixPath(example.path).name, picture)
        except ServiceError as error:
            if error.status not in UNREADABLE:
                raise
            self.unreadable.add(example.path)
            return None


def _top_name(said: Json) -> str | None:
    return said["top"][0]["name"] if said["top"] else None


def _share(said: Sequence[tuple[Example, Json]]) -> float:
    """Share of pictures whose most probable category is the true one."""
    return _mean([_top_name(answer) == one.category for one, answer in said])


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else math.nan


def _not_live() -> DemoError:
    return DemoError(
        f"A label was not in the class memory after {LIVE_DEADLINE_SECONDS:.0f} seconds. "
        "Is the worker running?"
    )
