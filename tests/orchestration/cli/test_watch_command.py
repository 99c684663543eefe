"""`tapewatch watch` over real files and a real pipe."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from models.single.rows import Row, ScoreWriter
from orchestration.cli.app import app

ROWS = 2500


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A series with a spike, a missing, an infinite and a repeated row; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    values = [repr(value) for value in np.random.default_rng(4).normal(size=ROWS).tolist()]
    values[700], values[800], values[2000] = "", "inf", "25.0"
    stamps = [f"2024-03-{1 + row // 1440:02d} {row // 60 % 24:02d}:{row % 60:02d}:00" for row in range(ROWS)]
    stamps[900] = stamps[899]
    return ["timestamp,value", *(f"{stamp},{value}" for stamp, value in zip(stamps, values, strict=True))]


def call(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["watch", *arguments], input=given, env={"COLUMNS": "200"})


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_row_out_for_every_row_in(lines: list[str], tmp_path: Path) -> None:
    result = call(str(write(tmp_path / "in.csv", lines)), "--out", "scores.csv")
    assert result.exit_code == 0, result.output
    with Path("scores.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [f"{row['timestamp']},{row['value']}" for row in found] == lines[1:]
    scores = np.array([float(row["score"]) for row in found])
    assert int(scores.argmax()) == 2000
    assert scores[700] == scores[800] == 0.0
    assert repr(float(scores[2000])) == found[2000]["score"]


def test_a_prefix_scores_the_same_from_a_file_and_from_a_pipe(lines: list[str], tmp_path: Path) -> None:
    call(str(write(tmp_path / "in.csv", lines)), "--out", "whole.csv")
    whole = Path("whole.csv").read_text().splitlines()
    call(str(write(tmp_path / "part.csv", lines[:1201])), "--out", "part.csv.scores")
    assert Path("part.csv.scores").read_text().splitlines() == whole[:1201]
    piped = call("-", "--out", "-", given="\n".join(lines[:301]) + "\n")
    assert piped.stdout.splitlines() == whole[:301]


def test_a_killed_watch_goes_on_as_if_undisturbed(
    lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.csv", lines)
    call(str(source), "--out", "whole.csv")

    class Killed(BaseException):
        """Ends the command as a kill does: nothing is saved on the way out."""

    def killed_behind_two_blocks(self: ScoreWriter, block: list[Row]) -> None:
        if self.rows == 2000:
            raise Killed
        plain(self, block)
        if self.rows == 1000:
            kept(self)

    plain, kept = ScoreWriter.write, ScoreWriter.save
    with monkeypatch.context() as patch:
        patch.setattr(ScoreWriter, "write", killed_behind_two_blocks)
        patch.setattr(ScoreWriter, "save", lambda self: None)
        with pytest.raises(Killed):
            call(str(source), "--out", "out.csv", "--state", "state.npz")
    # The rows behind the last saved state were written, and are scored anew.
    assert len(Path("out.csv").read_text().splitlines()) == 2001
    with Path("out.csv").open("a") as file:
        file.write("2024-03-02 09:20:00,1.2")
    assert call(str(source), "--out", "out.csv", "--state", "state.npz").exit_code == 0
    assert Path("out.csv").read_text() == Path("whole.csv").read_text()


def test_more_rows_of_a_grown_file_are_appended(lines: list[str], tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", lines)
    call(str(source), "--out", "whole.csv")
    for rows in (1, 1501, len(lines)):
        write(source, lines[:rows])
        call(str(source), "--out", "out.csv", "--state", "state.npz")
    assert Path("out.csv").read_text() == Path("whole.csv").read_text()


def test_bad_input_is_named_with_its_line_and_what_came_before_is_scored(lines: list[str], tmp_path: Path) -> None:
    lines[1501] = lines[1501].split(",")[0] + ",broken"
    source = write(tmp_path / "in.csv", lines)
    result = call(str(source), "--out", "out.csv")
    assert result.exit_code == 1
    assert f"{source}, line 1502: 'broken' is no number" in result.output
    assert len(Path("out.csv").read_text().splitlines()) == 1501


def test_wrong_files_and_columns_are_named(lines: list[str], tmp_path: Path) -> None:
    source = str(write(tmp_path / "in.csv", lines))
    for arguments, message in (
        (("absent.csv", "--out", "o.csv"), "absent.csv: No such file or directory"),
        ((source, "--out", "o.csv", "--value", "price"), "no column 'price' (there is: timestamp, value)"),
        ((source, "--out", source), "is the file that is read"),
        ((source, "--out", "-", "--state", "s.npz"), "--state needs --out with the name of a file"),
        ((source, "--out", "o.csv", "--state", source), "is no saved watch"),
    ):
        result = call(*arguments)
        assert result.exit_code == 1, result.output
        assert message in result.output


def test_an_output_that_is_gone_and_a_source_that_shrank_are_refused(lines: list[str], tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", lines)
    call(str(source), "--out", "out.csv", "--state", "state.npz")
    write(source, lines[:100])
    assert (
        "has 99 rows, and state.npz has seen 2,500"
        in call(str(source), "--out", "out.csv", "--state", "state.npz").output
    )
    Path("out.csv").unlink()
    assert "which are gone" in call(str(source), "--out", "out.csv", "--state", "state.npz").output


@pytest.mark.long
def test_scores_of_a_pipe_come_with_each_row(lines: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from orchestration.cli.app import app; app()", "watch", "-", "--out", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{lines[0]}\n{lines[1]}\n")
        process.stdin.flush()
        # Both lines arrive while the pipe stays open.
        assert process.stdout.readline() == "timestamp,value,score\n"
        assert process.stdout.readline() == f"{lines[1]},0.0\n"
        process.stdin.close()
        assert process.wait() == 0
