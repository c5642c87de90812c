"""What a member of a project may do: permissions, and one map from roles to them."""

from enum import StrEnum


class Role(StrEnum):
    """A user's part in one project."""

    OWNER = "OWNER"
    REVIEWER = "REVIEWER"
    ANNOTATOR = "ANNOTATOR"
    UPLOADER = "UPLOADER"
    VIEWER = "VIEWER"


class Permission(StrEnum):
    """One thing that can be done to one kind of resource."""

    PROJECT_READ = "project:read"
    PROJECT_CHANGE = "project:change"
    IMAGE_READ = "image:read"
    IMAGE_UPLOAD = "image:upload"
    LABEL_IMPORT = "label:import"
    ANNOTATION_CREATE = "annotation:create"
    CATEGORY_PROPOSE = "category:propose"
    CATEGORY_CHANGE = "category:change"
    VERSION_TRAIN = "version:train"
    PREDICTION_CREATE = "prediction:create"


_VIEWER = {Permission.PROJECT_READ, Permission.IMAGE_READ, Permission.PREDICTION_CREATE}
_UPLOADER = _VIEWER | {Permission.IMAGE_UPLOAD}
_ANNOTATOR = _VIEWER | {Permission.ANNOTATION_CREATE, Permission.CATEGORY_PROPOSE}
_REVIEWER = _UPLOADER | _ANNOTATOR | {Permission.CATEGORY_CHANGE}
_OWNER = set(Permission)

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset(_VIEWER),
    Role.UPLOADER: frozenset(_UPLOADER),
    Role.ANNOTATOR: frozenset(_ANNOTATOR),
    Role.REVIEWER: frozenset(_REVIEWER),
    Role.OWNER: frozenset(_OWNER),
}
