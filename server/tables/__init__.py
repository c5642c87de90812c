"""SQLAlchemy classes, nothing else. Import from here, so that the metadata is always complete."""

from server.tables.accounts import ApiToken, BrowserSession, LoginAttempt, Membership, User
from server.tables.annotations import Annotation, AnnotationTask, LabelSource, TaskSkip, TaskState, Verdict
from server.tables.audit import AuditEntry
from server.tables.base import Base
from server.tables.batches import Batch, BatchItem, BatchKind, BatchStatus, Image, ItemOutcome
from server.tables.categories import Alias, AliasKind, Category, CategoryStatus
from server.tables.features import Embedding, Feature
from server.tables.jobs import Job, JobKind, JobState
from server.tables.model_versions import ClassMemoryRow, ModelVersion, SnapshotLabel, VersionStatus
from server.tables.predictions import Prediction
from server.tables.projects import Project

__all__ = [
    "Alias",
    "AliasKind",
    "Annotation",
    "AnnotationTask",
    "ApiToken",
    "AuditEntry",
    "Base",
    "Batch",
    "BatchItem",
    "BatchKind",
    "BatchStatus",
    "BrowserSession",
    "Category",
    "CategoryStatus",
    "ClassMemoryRow",
    "Embedding",
    "Feature",
    "Image",
    "ItemOutcome",
    "Job",
    "JobKind",
    "JobState",
    "LabelSource",
    "LoginAttempt",
    "Membership",
    "ModelVersion",
    "Prediction",
    "Project",
    "SnapshotLabel",
    "TaskSkip",
    "TaskState",
    "User",
    "Verdict",
    "VersionStatus",
]
