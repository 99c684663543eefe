"""Who is admitted, and how often."""

import datetime as dt

import pytest
from starlette.datastructures import Headers

from serving.http.gate import ANY, Gate
from serving.http.problems import Problem
from tapewatch.accounts.keys import ApiKey, KeyRing, _hash
from tapewatch.web.access import Access

NOW = dt.datetime.now(dt.UTC)
TOKEN = "correct-horse-battery-staple"  # noqa: S105  # pragma: allowlist secret
TEXT = "tw_abc_secret"


def a_key(**changes: object) -> ApiKey:
    return ApiKey(
        **{"key_id": "abc", "name": "desk", "scopes": ("score",), "secret_hash": _hash("secret"), "created_time": NOW}
        | changes
    )


def gate(*keys: ApiKey, token: str = "", rate: int = 1_000) -> Gate:
    return Gate(Access(token=token), rate, KeyRing.of(keys))


def refusal(opened: Gate, headers: dict[str, str], scope: str = "score") -> Problem:
    with pytest.raises(Problem) as caught:
        opened.admit(Headers(headers), scope)
    return caught.value


def test_without_keys_and_token_it_is_open() -> None:
    opened = gate()
    assert opened.is_open
    assert opened.admit(Headers({}), "feedback").name == "local"


@pytest.mark.parametrize(
    "headers", [{"x-api-key": TEXT}, {"authorization": f"Bearer {TEXT}"}, {"authorization": f"bearer  {TEXT} "}]
)
def test_a_key_admits_to_its_scopes(headers: dict[str, str]) -> None:
    opened = gate(a_key())
    assert not opened.is_open
    assert opened.admit(Headers(headers), "score").name == "desk"
    assert opened.admit(Headers(headers), ANY).name == "desk"
    assert refusal(opened, headers, "feedback").status == 403
    assert opened.knows(Headers(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "tw_abc_wrong"},
        {"authorization": "Bearer tw_abc_"},
        {"authorization": "Basic eDp5"},
    ],
)
def test_with_keys_nobody_else_is_admitted(headers: dict[str, str]) -> None:
    problem = refusal(gate(a_key()), headers)
    assert (problem.status, "WWW-Authenticate" in problem.headers) == (401, True)
    assert not gate(a_key()).knows(Headers(headers))


def test_an_expired_key_is_refused_and_leaves_the_service_open_only_without_a_token() -> None:
    ended = a_key(expires_time=NOW - dt.timedelta(seconds=1))
    assert refusal(gate(ended), {"x-api-key": TEXT}).status == 401
    assert gate(ended).is_open
    assert not gate(ended, token=TOKEN).is_open


def test_the_holder_of_the_token_may_do_everything() -> None:
    # The guard before the gate has compared the token.
    assert gate(a_key(), token=TOKEN).admit(Headers({"authorization": f"Bearer {TOKEN}"}), "admin").name == "token"


def test_before_the_keys_are_read_nobody_is_admitted() -> None:
    problem = refusal(Gate(Access(), 10, None), {})
    assert (problem.status, problem.headers["Retry-After"]) == (503, "5")


def test_each_key_has_a_limit_of_its_own() -> None:
    opened = gate(a_key(requests_per_minute=3), a_key(key_id="def", name="other"), rate=5)
    for key, allowed in ((TEXT, 3), ("tw_def_secret", 5)):
        for _ in range(allowed):
            opened.admit(Headers({"x-api-key": key}), "score")
        problem = refusal(opened, {"x-api-key": key})
        assert problem.status == 429
        assert 1 <= int(problem.headers["Retry-After"]) <= 60
