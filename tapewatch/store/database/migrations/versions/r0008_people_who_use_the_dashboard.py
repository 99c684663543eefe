"""People who use the dashboard, their sessions, codes and tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "login_failures",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="`password:` or `code:` and the name that was given, whether or not there is such an account",
        ),
        sa.Column("failures", sa.Integer(), nullable=False, comment="how many in a row"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when the newest was"),
        sa.PrimaryKeyConstraint("market", "subject", name="pk_login_failures"),
        comment="Failed logins in a row, which delay the next try.",
    )
    with op.batch_alter_table("login_failures", schema=None) as batch_op:
        batch_op.create_index("ix_login_failures_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_login_failures_partition", ["market", "date"], unique=False)

    op.create_table(
        "recovery_codes",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("code_id", sa.Text(), nullable=False, comment="SHA-256 of name and code"),
        sa.Column("user_name", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was made"),
        sa.PrimaryKeyConstraint("market", "code_id", name="pk_recovery_codes"),
        comment="Unused codes that stand in for a lost authenticator, each once.",
    )
    with op.batch_alter_table("recovery_codes", schema=None) as batch_op:
        batch_op.create_index("ix_recovery_codes_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_recovery_codes_partition", ["market", "date"], unique=False)

    op.create_table(
        "user_sessions",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("session_id", sa.Text(), nullable=False, comment="SHA-256 of the cookie's value"),
        sa.Column("user_name", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was made"),
        sa.Column(
            "seen_time", sa.DateTime(timezone=True), nullable=False, comment="when the person last did something"
        ),
        sa.Column("expires_time", sa.DateTime(timezone=True), nullable=False, comment="when it ends in any case"),
        sa.Column("is_complete", sa.Boolean(), nullable=False, comment="false while the second factor is awaited"),
        sa.Column("address", sa.Text(), nullable=False, comment="address of the client"),
        sa.Column("agent", sa.Text(), nullable=False, comment="what the browser calls itself"),
        sa.PrimaryKeyConstraint("market", "session_id", name="pk_user_sessions"),
        comment="Logins to the dashboard that have not ended.",
    )
    with op.batch_alter_table("user_sessions", schema=None) as batch_op:
        batch_op.create_index("ix_user_sessions_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_user_sessions_partition", ["market", "date"], unique=False)

    op.create_table(
        "user_tokens",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("token_id", sa.Text(), nullable=False, comment="SHA-256 of the token"),
        sa.Column("user_name", sa.Text(), nullable=False, comment="whose it is"),
        sa.Column("title", sa.Text(), nullable=False, comment="what the person calls it"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was made"),
        sa.Column("expires_time", sa.DateTime(timezone=True), nullable=False, comment="when it ends"),
        sa.Column("used_time", sa.DateTime(timezone=True), nullable=True, comment="when it was last used"),
        sa.PrimaryKeyConstraint("market", "token_id", name="pk_user_tokens"),
        comment="Tokens with which programs read from the dashboard in the name of a person.",
    )
    with op.batch_alter_table("user_tokens", schema=None) as batch_op:
        batch_op.create_index("ix_user_tokens_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_user_tokens_partition", ["market", "date"], unique=False)

    op.create_table(
        "users",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("name", sa.Text(), nullable=False, comment="login name, in lower case"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was made"),
        sa.Column("role", sa.Text(), nullable=False, comment="`viewer`, `user`, `manager` or `admin`"),
        sa.Column(
            "password_hash",
            sa.Text(),
            nullable=True,
            comment="Argon2id; null for an account that only a provider of identities logs in",
        ),
        sa.Column(
            "is_temporary",
            sa.Boolean(),
            nullable=False,
            comment="whether the password must be changed at the next login",
        ),
        sa.Column("is_locked", sa.Boolean(), nullable=False, comment="whether the account is closed"),
        sa.Column(
            "totp_secret",
            sa.Text(),
            nullable=True,
            comment="secret of the authenticator, encrypted; null without a second factor",
        ),
        sa.Column(
            "totp_step",
            sa.BigInteger(),
            nullable=True,
            comment="time step of the newest code that was accepted, so that none is accepted twice",
        ),
        sa.Column("subject", sa.Text(), nullable=True, comment="issuer and subject at the provider of identities"),
        sa.PrimaryKeyConstraint("market", "name", name="pk_users"),
        comment="Who may use the dashboard.",
    )
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.create_index("ix_users_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_users_partition", ["market", "date"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.drop_index("ix_users_partition")
        batch_op.drop_index("ix_users_created_time")

    op.drop_table("users")
    with op.batch_alter_table("user_tokens", schema=None) as batch_op:
        batch_op.drop_index("ix_user_tokens_partition")
        batch_op.drop_index("ix_user_tokens_created_time")

    op.drop_table("user_tokens")
    with op.batch_alter_table("user_sessions", schema=None) as batch_op:
        batch_op.drop_index("ix_user_sessions_partition")
        batch_op.drop_index("ix_user_sessions_created_time")

    op.drop_table("user_sessions")
    with op.batch_alter_table("recovery_codes", schema=None) as batch_op:
        batch_op.drop_index("ix_recovery_codes_partition")
        batch_op.drop_index("ix_recovery_codes_created_time")

    op.drop_table("recovery_codes")
    with op.batch_alter_table("login_failures", schema=None) as batch_op:
        batch_op.drop_index("ix_login_failures_partition")
        batch_op.drop_index("ix_login_failures_created_time")

    op.drop_table("login_failures")
