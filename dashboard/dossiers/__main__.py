"""Builds dossiers until its standard input ends: reads identities of events, a line each, and writes each dossier or error.

Standard output carries pickled objects alone; what libraries print goes to standard error. `DossierProcess` starts it.
"""

import os
import pickle
import signal
import sys
from typing import BinaryIO

from dashboard.dossiers.worker import Worker, reason_of
from tapewatch.settings import Settings


def main(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer every question in turn."""
    worker = Worker(Settings())
    worker.warm()
    for line in questions:
        try:
            answer: object = worker.dossier(line.decode().rstrip("\n"))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one event, the page shows
            answer = reason_of(error)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    # Ctrl-C reaches every process of a terminal; this one ends with the server, whose end closes its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        main(sys.stdin.buffer, answers)
