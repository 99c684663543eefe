"""${message}."""

import sqlalchemy as sa
from alembic import op

revision = "${up_revision}"
down_revision = "${down_revision}"


def upgrade() -> None:
    """Forwards."""
    ${upgrades}


def downgrade() -> None:
    """Backwards."""
    ${downgrades}
