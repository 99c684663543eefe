"""`tapewatch labels pull` and `tapewatch labels push`: labels that a team shares in a bucket or folder."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from orchestration.cli.listing import Column, Format, Listing, counted
from orchestration.errors import console, reports_errors
from tapewatch.settings import Settings

if TYPE_CHECKING:
    from orchestration.runs.labels.sharing import Outcome
    from tapewatch.labels.shared.merging import Conflict


class Side(StrEnum):
    OURS = "ours"
    THEIRS = "theirs"


_Place = Annotated[str, typer.Argument(metavar="PLACE", help="a folder, or a URL such as s3://bucket/labels")]
_OursOption = Annotated[bool, typer.Option("--ours", metavar="", help="settle every conflict for what is here")]
_TheirsOption = Annotated[
    bool, typer.Option("--theirs", metavar="", help="settle every conflict for what was pushed last")
]
_TakeOption = Annotated[
    list[str] | None,
    typer.Option("--take", metavar="ID=SIDE", help="settle one: ours, theirs, or a revision that is listed"),
]


@reports_errors
def pull(
    place: _Place, ours: _OursOption = False, theirs: _TheirsOption = False, take: _TakeOption = None
) -> None:  # fmt: skip
    """Bring the labels that others pushed into the database.

    What was changed both here and there is in conflict: it is listed and left as it
    is here, until you settle it. Ours is pushed by the next `push --upsert`.

    [dim]tapewatch labels pull s3://team/labels
    tapewatch labels pull s3://team/labels --take 3f1c09ab52d7=theirs[/]
    """
    from orchestration.runs.labels import sharing  # noqa: PLC0415

    done = sharing.pull(Settings(), place, sharing.choice_of(_side(ours, theirs), sharing.rows_of(take or [])))
    console.print(f"Pulled from {place}: {_counts(done)}", markup=False, soft_wrap=True)
    _report(done.conflicts)


@reports_errors
def push(
    place: _Place,
    upsert: Annotated[bool, typer.Option("--upsert", metavar="", help="push changes and removals too")] = False,
    ours: _OursOption = False,
    theirs: _TheirsOption = False,
    take: _TakeOption = None,
) -> None:
    """Add your new labels to the shared ones, with --upsert what you changed or removed too.

    Every push adds one object; nothing is replaced. While a conflict is left, nothing is
    pushed. What you settle for theirs comes with the next `pull`.

    [dim]tapewatch labels push s3://team/labels --upsert[/]
    """
    from orchestration.runs.labels import sharing  # noqa: PLC0415

    choose = sharing.choice_of(_side(ours, theirs), sharing.rows_of(take or []))
    done = sharing.push(Settings(), place, choose, upsert=upsert)
    if not done.conflicts:
        console.print(f"Pushed to {place}: {_counts(done)}", markup=False, soft_wrap=True)
        if done.left_out:
            console.print(f"{done.left_out} changed or removed here, not pushed: add --upsert", soft_wrap=True)
    _report(done.conflicts)


def _side(ours: bool, theirs: bool) -> str | None:
    if ours and theirs:
        raise typer.BadParameter("--ours and --theirs exclude each other")
    return "ours" if ours else "theirs" if theirs else None


def _counts(done: "Outcome") -> str:
    return f"{done.added} new, {done.changed} changed, {done.removed} removed"


def _report(conflicts: "tuple[Conflict, ...]") -> None:
    """List what is in conflict, and exit with code 1; nothing without a conflict."""
    if not conflicts:
        return
    from tapewatch.labels.shared.revisions import verdict_words  # noqa: PLC0415

    def about(conflict: "Conflict") -> str:
        label = next(each for each in (conflict.ours, *(r.label for r in conflict.theirs)) if each is not None)
        return f"{label.symbol} {label.start:%Y-%m-%d %H:%M:%S} to {label.end:%H:%M:%S}\nby {escape(label.author)}"

    def here(conflict: "Conflict") -> str:
        if conflict.overlapped:
            return "\n".join(
                escape(f"{verdict_words(each)}: {each.label_id}, which it overlaps") for each in conflict.overlapped
            )
        return escape(verdict_words(conflict.ours)) if conflict.ours else "removed, or never here"

    Listing(
        counted("conflict"),
        columns=(
            Column("label_id", lambda row: row["conflict"].label_id),
            Column("label", lambda row: about(row["conflict"])),
            Column("ours", lambda row: here(row["conflict"]), folds=True),
            Column("theirs: revision", lambda row: "\n".join(escape(f"{r.revision_id}: {r}") for r in row["conflict"].theirs), folds=True),
        ),
    ).show([{"conflict": conflict} for conflict in conflicts], Format.TABLE)  # fmt: skip
    console.print(
        "Settle them with --ours, with --theirs, or one by one with --take LABEL_ID=ours|theirs|REVISION",
        soft_wrap=True,
        markup=False,
    )
    raise typer.Exit(1)
