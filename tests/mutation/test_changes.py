"""Which places of a source are changed, and which are left alone."""

from tests.mutation.changes import places

_SOURCE = b'''"""A docstring with 1 + 1."""
__all__ = ["a"]
_WIDTH = 5
Number = int | None

@decorated(depth=2)
def first(rows: list[int | str], *, least: int = 3) -> int | None:
    """Not 2 < 3."""
    if not rows or len(rows) <= least:
        raise ValueError(f"fewer than {least + 1} rows: " + "load more")
    log.info("rows", 7)
    return min(rows[1:]) * 2  # \xc3\x97 2
'''


def _changed_lines() -> set[tuple[str, str]]:
    return {change.lines(_SOURCE) for options in places("a.py", _SOURCE) for change in options}


def test_every_change_of_the_source() -> None:
    condition, returned = "if not rows or len(rows) <= least:", "return min(rows[1:]) * 2  # × 2"
    parameters = "def first(rows: list[int | str], *, least: int = 3) -> int | None:"
    assert _changed_lines() == {
        (parameters, parameters.replace("= 3", "= 4")),
        (parameters, parameters.replace("= 3", "= 2")),
        (condition, condition.replace("not ", "")),
        (condition, condition.replace("or", "and")),
        (condition, condition.replace("<=", "<")),
        (condition, condition.replace("<=", ">")),
        (returned, returned.replace("min", "max")),
        (returned, returned.replace("[1:]", "[2:]")),
        (returned, returned.replace("[1:]", "[0:]")),
        (returned, returned.replace("* 2", "/ 2")),
        (returned, returned.replace("* 2", "* 3")),
        (returned, returned.replace("* 2", "* 1")),
    }


def test_a_change_is_one_edit_of_its_line() -> None:
    for options in places("a.py", _SOURCE):
        for change in options:
            before, after = _SOURCE.splitlines(), change.apply(_SOURCE).splitlines()
            assert [at + 1 for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [change.line]
