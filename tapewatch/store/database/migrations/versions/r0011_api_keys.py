"""Keys of programs that use the scoring service."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "api_keys",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("key_id", sa.Text(), nullable=False, comment="public part of the key"),
        sa.Column("name", sa.Text(), nullable=False, comment="program that uses it"),
        sa.Column("scopes", sa.Text(), nullable=False, comment="what it allows, separated by commas"),
        sa.Column(
            "secret_hash", sa.Text(), nullable=False, comment="SHA-256 of the secret part, as hexadecimal digits"
        ),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was made"),
        sa.Column(
            "expires_time", sa.DateTime(timezone=True), nullable=True, comment="from here on it is refused; null: never"
        ),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True, comment="its rate limit; null: the service's"),
        sa.PrimaryKeyConstraint("market", "key_id", name="pk_api_keys"),
        comment="Keys of programs that use the scoring service; of a key only its hash is stored.",
    )
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.create_index("ix_api_keys_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_api_keys_partition", ["market", "date"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_api_keys_partition")
        batch_op.drop_index("ix_api_keys_created_time")

    op.drop_table("api_keys")
