"""No password of an address is shown."""

import pytest

from tapewatch.masking import masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:hunter2@db:5432/x", "postgresql://me:***@db:5432/x"),  # pragma: allowlist secret
        ("see wss://me:hunter2@h/a and http://:hunter2@h", "see wss://me:***@h/a and http://:***@h"),  # pragma: allowlist secret
        ("postgresql+psycopg2://me:a/hunter2?b@db/x", "postgresql+psycopg2://me:***@db/x"),
        ("sftp://me:hunter2@hunter2@h/x", "sftp://me:***@h/x"),  # pragma: allowlist secret
        ("postgresql://db/x?user=me&password=hunter2&sslmode=require", "postgresql://db/x?user=me&password=***&sslmode=require"),
        ("https://h/a?X-Amz-Signature=hunter2", "https://h/a?X-Amz-Signature=***"),
        ("https://h/a?apiKey=hunter2 next", "https://h/a?apiKey=*** next"),
        ("http://[::1]:3000/x, me@example.com", "http://[::1]:3000/x, me@example.com"),
        ("http://127.0.0.1:3000/a@b", "http://127.0.0.1:3000/a@b"),
        ("s3://flatfiles/us", "s3://flatfiles/us"),
    ],
)  # fmt: skip
def test_passwords_are_hidden_and_nothing_else(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert "hunter2" not in masked(text)
