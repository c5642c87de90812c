"""All tables of the loop: accounts, projects, images, vectors, predictions, queue, versions, audit."""

import pgvector.sqlalchemy
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.create_table(
        "login_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False, comment="as typed, lower case"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_attempts")),
    )
    op.create_index(
        op.f("ix_login_attempts_email_created_at"), "login_attempts", ["email", "created_at"], unique=False
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="argon2id"),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index("uq_users_email", "users", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False, comment="sha256, hex"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"], unique=False)
    op.create_table(
        "browser_sessions",
        sa.Column("token_hash", sa.Text(), nullable=False, comment="sha256 of the cookie's token, hex"),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_browser_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_browser_sessions")),
    )
    op.create_index(op.f("ix_browser_sessions_user_id"), "browser_sessions", ["user_id"], unique=False)
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_version_id", sa.Uuid(), nullable=True),
        sa.Column("strategy", sa.Text(), nullable=False, comment="selection strategy, by registry name"),
        sa.Column("gate", sa.Text(), nullable=False, comment="score that admits images to the queue"),
        sa.Column(
            "round_size", sa.Integer(), nullable=False, comment="images that one round of selection offers"
        ),
        sa.Column("control_share", sa.Double(), nullable=False, comment="share of images queued at random"),
        sa.Column("temperature", sa.Double(), nullable=False, comment="T of the free energy"),
        sa.Column("hold_seconds", sa.Integer(), nullable=False, comment="how long a claimed image is held"),
        sa.CheckConstraint("control_share BETWEEN 0 AND 1", name=op.f("ck_projects_control_share")),
        sa.CheckConstraint(
            "gate IN ('free_energy', 'openness', 'unknown_score')", name=op.f("ck_projects_gate")
        ),
        sa.CheckConstraint("hold_seconds BETWEEN 10 AND 86400", name=op.f("ck_projects_hold_seconds")),
        sa.CheckConstraint("round_size BETWEEN 1 AND 10000", name=op.f("ck_projects_round_size")),
        sa.CheckConstraint(
            "strategy IN ('frontier', 'free_energy', 'random')", name=op.f("ck_projects_strategy")
        ),
        sa.CheckConstraint("temperature > 0", name=op.f("ck_projects_temperature")),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_projects_created_by_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False, comment="past tense, for example category.renamed"),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_audit_entries_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_audit_entries_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index(
        op.f("ix_audit_entries_project_id_created_at"),
        "audit_entries",
        ["project_id", "created_at"],
        unique=False,
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "UNLABELLED",
                "LABELLED",
                name="batchkind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "RECEIVED",
                "SCORED",
                "FAILED",
                name="batchstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_batches_created_by_users")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_batches_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index(
        op.f("ix_batches_project_id_created_at"), "batches", ["project_id", "created_at"], unique=False
    )
    op.create_table(
        "categories",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="as people see it"),
        sa.Column("name_key", sa.Text(), nullable=False, comment="normalised form; equal keys are one name"),
        sa.Column(
            "status",
            sa.Enum(
                "PROPOSED",
                "ACTIVE",
                "RETIRED",
                name="categorystatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "live_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="first moment at which a prediction could name it",
        ),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_categories_created_by_users")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_categories_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
    )
    op.create_index(op.f("ix_categories_project_id"), "categories", ["project_id"], unique=False)
    op.create_index(
        "uq_categories_project_id_name_key",
        "categories",
        ["project_id", "name_key"],
        unique=True,
        postgresql_where=sa.text("status <> 'RETIRED'"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "INGEST",
                "SCORE",
                "TRAIN",
                name="jobkind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("target_id", sa.Uuid(), nullable=False, comment="batch or model version, by kind"),
        sa.Column(
            "state",
            sa.Enum(
                "QUEUED",
                "RUNNING",
                "DONE",
                "FAILED",
                "CANCELLED",
                name="jobstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, comment="starts; a job that kills its worker stops at 5"
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_jobs_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_project_id_created_at"), "jobs", ["project_id", "created_at"], unique=False)
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["kind"],
        unique=False,
        postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
    )
    op.create_index(
        "uq_jobs_unfinished_target",
        "jobs",
        ["kind", "target_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
    )
    op.create_table(
        "memberships",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "OWNER",
                "REVIEWER",
                "ANNOTATOR",
                "UPLOADER",
                "VIEWER",
                name="role",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_memberships_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_memberships_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "user_id", name=op.f("pk_memberships")),
    )
    op.create_index(op.f("ix_memberships_user_id"), "memberships", ["user_id"], unique=False)
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="counts up within the project: v1, v2, …"),
        sa.Column(
            "status",
            sa.Enum(
                "QUEUED",
                "TRAINING",
                "CANDIDATE",
                "ACTIVE",
                "RETIRED",
                "FAILED",
                "CANCELLED",
                name="versionstatus",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trained_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("backbone", sa.Text(), nullable=False),
        sa.Column("runtime_key", sa.Text(), nullable=True, comment="which features it reads"),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("trained_images", sa.Integer(), nullable=False),
        sa.Column("trained_categories", sa.Integer(), nullable=False),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="on held-out labelled images",
        ),
        sa.Column(
            "memory_revision",
            sa.Integer(),
            nullable=False,
            comment="counts up with each change of the class memory",
        ),
        sa.Column(
            "scored_revision",
            sa.Integer(),
            nullable=False,
            comment="revision that all predictions have reached; below 0: out of date anyhow",
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("fk_model_versions_created_by_users")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["model_versions.id"],
            name=op.f("fk_model_versions_parent_id_model_versions"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_model_versions_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("project_id", "number", name=op.f("uq_model_versions_project_id_number")),
    )
    op.create_index(
        "uq_model_versions_active",
        "model_versions",
        ["project_id"],
        unique=True,
        postgresql_where=sa.text("status = 'ACTIVE'"),
    )
    op.create_index(
        "uq_model_versions_running",
        "model_versions",
        ["project_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('QUEUED', 'TRAINING')"),
    )
    op.create_table(
        "aliases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "ALIAS", "MISSPELLING", name="aliaskind", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["categories.id"],
            name=op.f("fk_aliases_category_id_categories"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_aliases_created_by_users")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_aliases_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_aliases")),
        sa.UniqueConstraint("project_id", "name_key", name=op.f("uq_aliases_project_id_name_key")),
    )
    op.create_index(op.f("ix_aliases_category_id"), "aliases", ["category_id"], unique=False)
    op.create_table(
        "images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False, comment="the batch that first brought it"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the original bytes, hex"),
        sa.Column("name", sa.Text(), nullable=False, comment="path as first given"),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False, comment="px, upright"),
        sa.Column("height", sa.Integer(), nullable=False, comment="px, upright"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "verdict",
            sa.Enum(
                "KNOWN",
                "NEW",
                "NOT_OF_INTEREST",
                "CANNOT_TELL",
                "BAD_IMAGE",
                "CONFLICT",
                name="verdict",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("labelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_images_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_images_category_id_categories")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_images_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("project_id", "sha256", name=op.f("uq_images_project_id_sha256")),
    )
    op.create_index("ix_images_batch_id", "images", ["batch_id", "id"], unique=False)
    op.create_index(
        "ix_images_category_id",
        "images",
        ["category_id"],
        unique=False,
        postgresql_where=sa.text("category_id IS NOT NULL"),
    )
    op.create_table(
        "annotation_tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "OPEN",
                "LEASED",
                "DONE",
                name="taskstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column(
            "is_control", sa.Boolean(), nullable=False, comment="queued at random, to measure the gain"
        ),
        sa.Column(
            "reason",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the figures behind the priority",
        ),
        sa.Column("lease_owner_id", sa.Uuid(), nullable=True),
        sa.Column(
            "lease_holder",
            sa.Uuid(),
            nullable=True,
            comment="the tab or program that holds it; the same holder claiming again gets the same image",
        ),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_annotation_tasks_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["lease_owner_id"], ["users.id"], name=op.f("fk_annotation_tasks_lease_owner_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_annotation_tasks_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation_tasks")),
        sa.UniqueConstraint("image_id", name=op.f("uq_annotation_tasks_image_id")),
    )
    op.create_index(
        "ix_annotation_tasks_leases",
        "annotation_tasks",
        ["project_id", "lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'LEASED'"),
    )
    op.create_index(
        "ix_annotation_tasks_queue",
        "annotation_tasks",
        ["project_id", sa.literal_column("priority DESC"), "id"],
        unique=False,
        postgresql_where=sa.text("state = 'OPEN'"),
    )
    op.create_table(
        "batch_items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="path as the user sees it, with / between folders"
        ),
        sa.Column(
            "outcome",
            sa.Enum(
                "STORED",
                "DUPLICATE",
                "REFUSED",
                name="itemoutcome",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("image_id", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True, comment="why refused, or what was noticed"),
        sa.Column("message", sa.Text(), nullable=True, comment="the same for people, with the mend"),
        sa.Column(
            "notes",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="for example extra-frames",
        ),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_items_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_batch_items_image_id_images"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_items")),
        sa.UniqueConstraint("batch_id", "name", name=op.f("uq_batch_items_batch_id_name")),
    )
    op.create_index("ix_batch_items_image_id", "batch_items", ["image_id"], unique=False)
    op.create_table(
        "class_memory",
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        sa.Column(
            "centroid",
            pgvector.sqlalchemy.vector.VECTOR(),
            nullable=False,
            comment="mean of v over the labelled images",
        ),
        sa.Column(
            "weight",
            pgvector.sqlalchemy.vector.VECTOR(),
            nullable=False,
            comment="row of the cosine classifier",
        ),
        sa.Column(
            "hallucinator", pgvector.sqlalchemy.vector.VECTOR(), nullable=False, comment="row of T_hal"
        ),
        sa.Column(
            "exemplar_image_id", sa.Uuid(), nullable=True, comment="labelled image nearest to the centroid"
        ),
        sa.Column("count", sa.Integer(), nullable=False, comment="labelled images behind the centroid"),
        sa.Column(
            "members_hash",
            sa.BigInteger(),
            nullable=False,
            comment="of the ids of those images: tells reconcile of an update that got lost",
        ),
        sa.Column(
            "usual_limit", sa.Double(), nullable=False, comment="95 % of its images lie within this distance"
        ),
        sa.Column("revision", sa.Integer(), nullable=False, comment="memory revision of its last change"),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_class_memory_category_id_categories")
        ),
        sa.ForeignKeyConstraint(
            ["exemplar_image_id"],
            ["images.id"],
            name=op.f("fk_class_memory_exemplar_image_id_images"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_class_memory_model_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_version_id", "category_id", name=op.f("pk_class_memory")),
    )
    op.create_index(op.f("ix_class_memory_category_id"), "class_memory", ["category_id"], unique=False)
    op.create_table(
        "embeddings",
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.halfvec.HALFVEC(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_embeddings_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_embeddings_model_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_version_id", "image_id", name=op.f("pk_embeddings")),
    )
    op.create_index(op.f("ix_embeddings_image_id"), "embeddings", ["image_id"], unique=False)
    op.create_table(
        "features",
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("runtime_key", sa.Text(), nullable=False),
        sa.Column("vector", pgvector.sqlalchemy.halfvec.HALFVEC(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_features_image_id_images"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "runtime_key", name=op.f("pk_features")),
    )
    op.create_table(
        "predictions",
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("memory_revision", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=True, comment="most probable; null without any class"),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("is_known", sa.Boolean(), nullable=False),
        sa.Column("unknown_score", sa.Double(), nullable=False, comment="known < 0.5 ≤ new"),
        sa.Column("openness", sa.Double(), nullable=False),
        sa.Column("informativeness", sa.Double(), nullable=False),
        sa.Column("free_energy", sa.Double(), nullable=False),
        sa.Column("top", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("nearest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_predictions_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_predictions_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_predictions_model_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_version_id", "image_id", name=op.f("pk_predictions")),
    )
    op.create_index(op.f("ix_predictions_image_id"), "predictions", ["image_id"], unique=False)
    op.create_index(
        op.f("ix_predictions_model_version_id_batch_id_free_energy"),
        "predictions",
        ["model_version_id", "batch_id", "free_energy"],
        unique=False,
    )
    op.create_table(
        "snapshot_labels",
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_snapshot_labels_category_id_categories")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_snapshot_labels_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_snapshot_labels_model_version_id_model_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_version_id", "image_id", name=op.f("pk_snapshot_labels")),
    )
    op.create_index(op.f("ix_snapshot_labels_image_id"), "snapshot_labels", ["image_id"], unique=False)
    op.create_table(
        "annotations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=True),
        sa.Column("annotator_id", sa.Uuid(), nullable=True),
        sa.Column(
            "source",
            sa.Enum(
                "HUMAN", "IMPORTED", name="labelsource", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column(
            "verdict",
            sa.Enum(
                "KNOWN",
                "NEW",
                "NOT_OF_INTEREST",
                "CANNOT_TELL",
                "BAD_IMAGE",
                "CONFLICT",
                name="verdict",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
            comment="null: a withdrawal",
        ),
        sa.Column("category_id", sa.Uuid(), nullable=True),
        sa.Column("withdraws_id", sa.Uuid(), nullable=True),
        sa.Column(
            "is_current",
            sa.Boolean(),
            nullable=False,
            comment="counts towards the image's label; false: late, second opinion",
        ),
        sa.Column(
            "lease_token",
            sa.Uuid(),
            nullable=True,
            comment="the hold under which it was sent; a repeated send finds it",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["users.id"], name=op.f("fk_annotations_annotator_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_annotations_category_id_categories")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_annotations_image_id_images"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_annotations_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["annotation_tasks.id"],
            name=op.f("fk_annotations_task_id_annotation_tasks"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["withdraws_id"], ["annotations.id"], name=op.f("fk_annotations_withdraws_id_annotations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
        sa.UniqueConstraint("lease_token", name=op.f("uq_annotations_lease_token")),
        sa.UniqueConstraint("withdraws_id", name=op.f("uq_annotations_withdraws_id")),
    )
    op.create_index(op.f("ix_annotations_category_id"), "annotations", ["category_id"], unique=False)
    op.create_index(
        op.f("ix_annotations_image_id_created_at"), "annotations", ["image_id", "created_at"], unique=False
    )
    op.create_index(
        op.f("ix_annotations_project_id_created_at"),
        "annotations",
        ["project_id", "created_at"],
        unique=False,
    )
    op.create_index(op.f("ix_annotations_task_id"), "annotations", ["task_id"], unique=False)
    op.create_table(
        "task_skips",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["annotation_tasks.id"],
            name=op.f("fk_task_skips_task_id_annotation_tasks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_task_skips_user_id_users")),
        sa.PrimaryKeyConstraint("task_id", "user_id", name=op.f("pk_task_skips")),
    )
    op.create_foreign_key(
        op.f("fk_projects_active_version_id_model_versions"),
        "projects",
        "model_versions",
        ["active_version_id"],
        ["id"],
        ondelete="SET NULL",
    )
    # Vectors are read whole and never compressed well: keep them beside their key, out of TOAST.
    op.execute("ALTER TABLE features ALTER COLUMN vector SET STORAGE PLAIN")
    op.execute("ALTER TABLE embeddings ALTER COLUMN vector SET STORAGE PLAIN")
    # Each claim measures its image against all centroids; weight and hallucinator are read far less often.
    op.execute("ALTER TABLE class_memory ALTER COLUMN centroid SET STORAGE PLAIN")


def downgrade() -> None:
    op.drop_constraint(op.f("fk_projects_active_version_id_model_versions"), "projects", type_="foreignkey")
    op.drop_table("task_skips")
    op.drop_index(op.f("ix_annotations_task_id"), table_name="annotations")
    op.drop_index(op.f("ix_annotations_project_id_created_at"), table_name="annotations")
    op.drop_index(op.f("ix_annotations_image_id_created_at"), table_name="annotations")
    op.drop_index(op.f("ix_annotations_category_id"), table_name="annotations")
    op.drop_table("annotations")
    op.drop_index(op.f("ix_snapshot_labels_image_id"), table_name="snapshot_labels")
    op.drop_table("snapshot_labels")
    op.drop_index(op.f("ix_predictions_model_version_id_batch_id_free_energy"), table_name="predictions")
    op.drop_index(op.f("ix_predictions_image_id"), table_name="predictions")
    op.drop_table("predictions")
    op.drop_table("features")
    op.drop_index(op.f("ix_embeddings_image_id"), table_name="embeddings")
    op.drop_table("embeddings")
    op.drop_index(op.f("ix_class_memory_category_id"), table_name="class_memory")
    op.drop_table("class_memory")
    op.drop_index("ix_batch_items_image_id", table_name="batch_items")
    op.drop_table("batch_items")
    op.drop_index(
        "ix_annotation_tasks_queue", table_name="annotation_tasks", postgresql_where=sa.text("state = 'OPEN'")
    )
    op.drop_index(
        "ix_annotation_tasks_leases",
        table_name="annotation_tasks",
        postgresql_where=sa.text("state = 'LEASED'"),
    )
    op.drop_table("annotation_tasks")
    op.drop_index(
        "ix_images_category_id", table_name="images", postgresql_where=sa.text("category_id IS NOT NULL")
    )
    op.drop_index("ix_images_batch_id", table_name="images")
    op.drop_table("images")
    op.drop_index(op.f("ix_aliases_category_id"), table_name="aliases")
    op.drop_table("aliases")
    op.drop_index(
        "uq_model_versions_running",
        table_name="model_versions",
        postgresql_where=sa.text("status IN ('QUEUED', 'TRAINING')"),
    )
    op.drop_index(
        "uq_model_versions_active", table_name="model_versions", postgresql_where=sa.text("status = 'ACTIVE'")
    )
    op.drop_table("model_versions")
    op.drop_index(op.f("ix_memberships_user_id"), table_name="memberships")
    op.drop_table("memberships")
    op.drop_index(
        "uq_jobs_unfinished_target",
        table_name="jobs",
        postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
    )
    op.drop_index(
        "ix_jobs_unfinished", table_name="jobs", postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')")
    )
    op.drop_index(op.f("ix_jobs_project_id_created_at"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_index(
        "uq_categories_project_id_name_key",
        table_name="categories",
        postgresql_where=sa.text("status <> 'RETIRED'"),
    )
    op.drop_index(op.f("ix_categories_project_id"), table_name="categories")
    op.drop_table("categories")
    op.drop_index(op.f("ix_batches_project_id_created_at"), table_name="batches")
    op.drop_table("batches")
    op.drop_index(op.f("ix_audit_entries_project_id_created_at"), table_name="audit_entries")
    op.drop_table("audit_entries")
    op.drop_table("projects")
    op.drop_index(op.f("ix_browser_sessions_user_id"), table_name="browser_sessions")
    op.drop_table("browser_sessions")
    op.drop_index(op.f("ix_api_tokens_user_id"), table_name="api_tokens")
    op.drop_table("api_tokens")
    op.drop_index("uq_users_email", table_name="users")
    op.drop_table("users")
    op.drop_index(op.f("ix_login_attempts_email_created_at"), table_name="login_attempts")
    op.drop_table("login_attempts")
