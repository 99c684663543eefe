"""Tables of the people who use the dashboard. Passwords, cookies and codes are kept as hashes, other secrets encrypted."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import BOOL, I32, I64, TEXT, TIME, optional

_USER = Column("user_name", TEXT, "whose it is")
_CREATED = Column("created_time", TIME, "when it was made")

USERS = Table(
    "users",
    "accounts",
    "Who may use the dashboard.",
    key=("name",),
    columns=(
        Column("name", TEXT, "login name, in lower case"),
        _CREATED,
        Column("role", TEXT, "`viewer`, `user`, `manager` or `admin`"),
        optional("password_hash", TEXT, "Argon2id; null for an account that only a provider of identities logs in"),
        Column("is_temporary", BOOL, "whether the password must be changed at the next login"),
        Column("is_locked", BOOL, "whether the account is closed"),
        optional("totp_secret", TEXT, "secret of the authenticator, encrypted; null without a second factor"),
        optional("totp_step", I64, "time step of the newest code that was accepted, so that none is accepted twice"),
        optional("subject", TEXT, "issuer and subject at the provider of identities"),
    ),
)

USER_SESSIONS = Table(
    "user_sessions",
    "accounts",
    "Logins to the dashboard that have not ended.",
    key=("session_id",),
    columns=(
        Column("session_id", TEXT, "SHA-256 of the cookie's value"),
        _USER,
        _CREATED,
        Column("seen_time", TIME, "when the person last did something"),
        Column("expires_time", TIME, "when it ends in any case"),
        Column("is_complete", BOOL, "false while the second factor is awaited"),
        Column("address", TEXT, "address of the client"),
        Column("agent", TEXT, "what the browser calls itself"),
    ),
)

RECOVERY_CODES = Table(
    "recovery_codes",
    "accounts",
    "Unused codes that stand in for a lost authenticator, each once.",
    key=("code_id",),
    columns=(Column("code_id", TEXT, "SHA-256 of name and code"), _USER, _CREATED),
)

USER_TOKENS = Table(
    "user_tokens",
    "accounts",
    "Tokens with which programs read from the dashboard in the name of a person.",
    key=("token_id",),
    columns=(
        Column("token_id", TEXT, "SHA-256 of the token"),
        _USER,
        Column("title", TEXT, "what the person calls it"),
        _CREATED,
        Column("expires_time", TIME, "when it ends"),
        optional("used_time", TIME, "when it was last used"),
    ),
)

LOGIN_FAILURES = Table(
    "login_failures",
    "accounts",
    "Failed logins in a row, which delay the next try.",
    key=("subject",),
    columns=(
        Column(
            "subject",
            TEXT,
            "`password:` or `code:` and the name that was given, whether or not there is such an account",
        ),
        Column("failures", I32, "how many in a row", minimum=0),
        Column("created_time", TIME, "when the newest was"),
    ),
)

USER_PREFERENCES = Table(
    "user_preferences",
    "accounts",
    "How people want the dashboard.",
    key=("user_name",),
    columns=(
        _USER,
        Column("theme", TEXT, "`system`, `light` or `dark`"),
        Column("is_muted", BOOL, "whether new alerts make no sound"),
        Column("created_time", TIME, "when the person last chose"),
    ),
)

ACCOUNTS: tuple[Table, ...] = (USERS, USER_SESSIONS, RECOVERY_CODES, USER_TOKENS, LOGIN_FAILURES, USER_PREFERENCES)
