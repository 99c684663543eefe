"""Moves the champion's alias and records each move, and each refusal, in the history of models."""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from models.base import DetectorError
from models.loading import load_detector
from models.scan.detector import ScanDetector
from resources.mlflow_registry import ModelRegistry, RegisteredModel, RegistryError
from tapewatch.masking import masked
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import (
    FOUND,
    PROMOTED,
    REFUSED,
    RETIRED,
    ROLLED_BACK,
    Decision,
    champion_of,
    faults,
    history,
    record,
)

_log = logging.getLogger(__name__)
#: Tag of a registered model: the newest entry of the history that is about it.
_ANCHOR = "tapewatch.history"


class PromotionError(RuntimeError):
    """A version cannot become champion; the champion stays. The message says why, and what can be done."""


@dataclass(frozen=True)
class Promoter:
    """Promotes, refuses and rolls back on behalf of `actor`.

    The alias moves by one call to MLflow, just before the entry of the history is committed: both change or neither does. What
    follows, the tag and the challenger's alias, is made good by the next decision if MLflow fails then.
    """

    registry: ModelRegistry
    database: Database
    actor: str

    def promote(
        self, candidate: RegisteredModel, *, over: int | None, reason: str, evidence: Mapping[str, Any] | None = None
    ) -> None:
        """Make a version champion in the place of version `over` (None: there was none).

        Raises:
            PromotionError: its files cannot be used, or MLflow does not answer.
            HistoryConflictError: another version became champion meanwhile.
        """
        self._install(candidate, PROMOTED, over, reason, evidence)

    def refuse(self, candidate: RegisteredModel, *, over: int | None, reason: str, evidence: Mapping[str, Any]) -> None:
        """Record that a version was not promoted."""
        self._note_moved(candidate.name, over)
        self._record(candidate, REFUSED, over, reason, evidence, lambda: None)

    def roll_back(self, name: str, version: int | None, reason: str) -> RegisteredModel:
        """Make an earlier version champion again, by default the one before; returns it.

        Raises:
            PromotionError: there is no such version, it is champion already, or its files are gone.
        """
        current = self.registry.champion(name)
        if current is None:
            raise PromotionError(f"{name} has no champion: promote a version first")
        if version is None:
            version = self._before(current)
        target = self.registry.version(name, version)
        if target is None:
            known = ", ".join(str(v.version) for v in self.registry.versions(name))
            raise PromotionError(f"{name} has no version {version}; it has {known}")
        if target.version == current.version:
            raise PromotionError(f"version {version} is the champion of {name} already")
        self._install(target, ROLLED_BACK, current.version, reason, None)
        return target

    def retire(self, name: str, reason: str, evidence: Mapping[str, Any] | None = None) -> RegisteredModel:
        """Leave a model without a champion; returns the one that it had.

        Raises:
            PromotionError: it has none, or MLflow does not answer.
            HistoryConflictError: another version became champion meanwhile.
        """
        current = self.registry.champion(name)
        if current is None:
            raise PromotionError(f"{name} has no champion")

        self._note_moved(name, current.version)
        self._record(
            current, RETIRED, current.version, reason, evidence or {}, lambda: self.registry.retire_champion(name)
        )
        return current

    def before(self, current: RegisteredModel) -> int | None:
        """The version in whose place a champion came; None where the history names none."""
        own = [entry for entry in history(self.database, current.name) if entry["version"] == current.version]
        before = next((e["champion_before"] for e in reversed(own) if e["action"] != REFUSED), None)
        return None if before is None else int(before)

    def faults(self) -> list[str]:
        """What is wrong with the history, and where MLflow says otherwise; empty if all is sound."""
        entries = history(self.database)
        found = faults(entries)
        hashes = {entry["hash"] for entry in entries}
        for name in self.registry.names():
            recorded, current = champion_of(entries, name), self.registry.champion(name)
            alias = current.version if current else None
            if recorded is not None and alias != recorded:
                found.append(
                    f"{name}: the history says that version {recorded} is champion, MLflow's alias is at {alias}"
                )
            anchor = self.registry.connect().get_registered_model(name).tags.get(_ANCHOR)
            if anchor is not None and anchor not in hashes:
                found.append(f"{name}: the newest entry that MLflow knows of, {anchor[:12]}, is not in the history")
        return found

    def _install(
        self, target: RegisteredModel, action: str, over: int | None, reason: str, evidence: Mapping[str, Any] | None
    ) -> None:
        self._expect_files(target)
        self._note_moved(target.name, over)

        self._record(
            target,
            action,
            over,
            reason,
            evidence or {},
            lambda: self.registry.set_champion(target.name, target.version),
        )

    def _record(
        self,
        target: RegisteredModel,
        action: str,
        over: int | None,
        reason: str,
        evidence: Mapping[str, Any],
        move: Callable[[], None],
    ) -> None:
        decision = Decision(
            target.name, action, target.version, over, target.run_id, self.actor, reason, dict(evidence)
        )
        try:
            entry = record(self.database, decision, apply=lambda _: move())
        except (MlflowException, RegistryError) as error:
            raise PromotionError(
                f"MLflow at {masked(self.registry.tracking_uri)} failed ({_first_line(error)}): version {target.version} of "
                f"{target.name} was not {action.replace('_', ' ')}, and nothing was recorded. Try again"
            ) from error
        try:
            self.registry.end_challenge(target.name)
            self.registry.connect().set_registered_model_tag(target.name, _ANCHOR, entry["hash"])
        except (MlflowException, RegistryError) as error:
            _log.warning(
                "MLflow failed once version %s of %s was %s (%s): its tag is renewed by the next decision",
                target.version, target.name, action.replace("_", " "), _first_line(error),
            )  # fmt: skip

    def _note_moved(self, name: str, alias: int | None) -> None:
        """Record where another program left the alias, so that the history stays true."""
        recorded = champion_of(history(self.database), name)
        if alias is None or recorded is None or recorded == alias:
            return
        moved = self.registry.champion(name)
        if moved is None or moved.version != alias:
            # The candidate was compared with a version that is champion no more; `record` refuses it.
            return
        reason = f"the alias was moved from version {recorded} to {alias} outside Tapewatch"
        self._record(moved, FOUND, recorded, reason, {}, lambda: None)

    def _before(self, current: RegisteredModel) -> int:
        before = self.before(current)
        if before is None:
            raise PromotionError(
                f"the history names no champion of {current.name} before version {current.version}: give --to"
            )
        return before

    def _expect_files(self, target: RegisteredModel) -> None:
        try:
            with self.registry.files(target.uri) as folder:
                (ScanDetector.load if target.name == ScanDetector.name else load_detector)(folder)
        except (MlflowException, OSError) as error:
            others = ", ".join(
                str(v.version) for v in self.registry.versions(target.name) if int(v.version) != target.version
            )
            raise PromotionError(
                f"version {target.version} of {target.name} cannot be champion: its files are gone ({_first_line(error)}). "
                f"Choose another version ({others or 'there is none'}), or train again"
            ) from error
        except DetectorError as error:
            raise PromotionError(f"version {target.version} of {target.name} cannot be champion: {error}") from error


def champion_at(database: Database, name: str, at: dt.datetime) -> int | None:
    """The version that was champion at a time; None if none was, or its time is before the history."""
    return champion_of(history(database), name, at)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
