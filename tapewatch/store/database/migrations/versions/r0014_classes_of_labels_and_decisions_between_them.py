"""Classes of labels, and decisions where labels differ."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "adjudications",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("adjudication_id", sa.Text(), nullable=False, comment="identity of the decision"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="instrument"),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False, comment="start of what was decided"),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=False, comment="end of what was decided"),
        sa.Column("kind", sa.Text(), nullable=False, comment="kind of anomaly, or `normal`"),
        sa.Column("is_anomaly", sa.Boolean(), nullable=False, comment="whether it is one"),
        sa.Column("note", sa.Text(), nullable=True, comment="why"),
        sa.Column(
            "judged",
            sa.Text(),
            nullable=False,
            comment="JSON list of the labels that differed, as they were: label_id, author, kind, start, end, note",
        ),
        sa.Column("author", sa.Text(), nullable=False, comment="who decided"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was decided"),
        sa.PrimaryKeyConstraint("market", "adjudication_id", name="pk_adjudications"),
        comment="Decisions where labels of several people about the same stretch differ. The labels themselves stay.",
    )
    with op.batch_alter_table("adjudications", schema=None) as batch_op:
        batch_op.create_index("ix_adjudications_partition", ["market", "date"], unique=False)
        batch_op.create_index("ix_adjudications_start_time", ["start_time"], unique=False)

    op.create_table(
        "label_classes",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("name", sa.Text(), nullable=False, comment="the class, as labels and files spell it"),
        sa.Column(
            "is_offered",
            sa.Boolean(),
            nullable=False,
            comment="whether new labels may be of it; labels that there are keep it",
        ),
        sa.Column("description", sa.Text(), nullable=True, comment="what belongs to it"),
        sa.Column("author", sa.Text(), nullable=False, comment="who changed it last"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when that was"),
        sa.PrimaryKeyConstraint("market", "name", name="pk_label_classes"),
        comment="Classes of labels that were added, or are no longer offered; unchanged built-in classes have no row.",
    )
    with op.batch_alter_table("label_classes", schema=None) as batch_op:
        batch_op.create_index("ix_label_classes_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_label_classes_partition", ["market", "date"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("label_classes", schema=None) as batch_op:
        batch_op.drop_index("ix_label_classes_partition")
        batch_op.drop_index("ix_label_classes_created_time")

    op.drop_table("label_classes")
    with op.batch_alter_table("adjudications", schema=None) as batch_op:
        batch_op.drop_index("ix_adjudications_start_time")
        batch_op.drop_index("ix_adjudications_partition")

    op.drop_table("adjudications")
