"""The files of a saved ensemble: its members' folders."""

from pathlib import Path
from typing import Final

MEMBERS: Final = "members"
#: The name of the calibration of the mean among those of the members.
WHOLE: Final = "ensemble"


def member_folders(folder: Path) -> list[Path]:
    """The folder of each member of the ensemble saved in `folder`, in their order; named `NUMBER_NAME`."""
    return sorted((folder / MEMBERS).iterdir(), key=lambda path: int(path.name.partition("_")[0]))
