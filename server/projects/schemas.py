"""What goes in and out of the project endpoints."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from server.permissions import Permission, Role
from server.projects.service import ProjectSummary
from server.projects.strategies import Gate, Strategy

Name = Annotated[str, Field(max_length=200)]
Description = Annotated[str, Field(max_length=2000)]
RoundSize = Annotated[int, Field(ge=1, le=10_000)]
ControlShare = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0, le=10)]
HoldSeconds = Annotated[int, Field(ge=10, le=86_400)]


class ProjectIn(BaseModel):
    """A new project. Settings that are left out take their defaults."""

    name: Name
    description: Description = ""
    strategy: Strategy = Strategy.FRONTIER
    gate: Gate = Gate.FREE_ENERGY
    round_size: RoundSize = 64
    control_share: ControlShare = 0.05
    temperature: Temperature = 0.02
    hold_seconds: HoldSeconds = 300


class ProjectPatch(BaseModel):
    """A change of some fields; what is left out stays."""

    name: Name | None = None
    description: Description | None = None
    strategy: Strategy | None = None
    gate: Gate | None = None
    round_size: RoundSize | None = None
    control_share: ControlShare | None = None
    temperature: Temperature | None = None
    hold_seconds: HoldSeconds | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that were given."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)


class ProjectOut(BaseModel):
    """A project as its members see it."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    description: str
    created_at: datetime
    active_version_id: uuid.UUID | None
    strategy: Strategy
    gate: Gate
    round_size: int
    control_share: float
    temperature: float
    hold_seconds: int


class ProjectDetail(ProjectOut):
    """A project with what the asking user may do in it."""

    permissions: list[Permission]


class ProjectLine(ProjectOut):
    """A line of the project list."""

    role: Role
    waiting: int
    images: int
    categories: int
    found_this_week: int
    active_version: int | None
    last_label_at: datetime | None

    @classmethod
    def of(cls, summary: ProjectSummary) -> "ProjectLine":
        """The line of one summary."""
        project = ProjectOut.model_validate(summary.project).model_dump()
        figures = {name: value for name, value in vars(summary).items() if name != "project"}
        return cls(**project, **figures)


class MemberIn(BaseModel):
    """Who takes which part."""

    email: Annotated[str, Field(max_length=300)]
    role: Role


class MemberOut(BaseModel):
    """A member of a project."""

    user_id: uuid.UUID
    email: str
    name: str
    role: Role
