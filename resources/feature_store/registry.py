"""Feast's registry in a file that is replaced as a whole, and refused where another Feast wrote it."""

import uuid
from pathlib import Path

from feast.infra.registry.file import FileRegistryStore
from feast.infra.registry.registry import REGISTRY_SCHEMA_VERSION
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RegistryConfig
from feast.utils import _utc_now as utc_now
from google.protobuf.message import DecodeError

from tapewatch.store.durable import write_whole


class RegistryError(RuntimeError):
    """The registry cannot be used; the message names it, why, and the way out."""


class WholeFileRegistryStore(FileRegistryStore):
    """As Feast's, which writes into the file: a process that is killed meanwhile would leave half of it."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        # Feast leaves the name of a variable that is not set in the text, and would create a folder of that name.
        if "${" in registry_config.path:
            raise RegistryError(f"the registry's path is {registry_config.path}: set TAPEWATCH_HOME to the data folder")
        super().__init__(registry_config, repo_path)

    def get_registry_proto(self) -> RegistryProto:
        """The registry.

        Raises:
            RegistryError: it is damaged, or of another version's format.
            FileNotFoundError: there is none yet.
        """
        path: Path = self._filepath
        way_out = "move it away and run `feast -c feature_repo apply`, then materialize again"
        try:
            read: RegistryProto = super().get_registry_proto()
        except DecodeError as error:
            raise RegistryError(f"the registry {path} cannot be read ({error}): {way_out}") from error
        version = read.registry_schema_version
        if version != REGISTRY_SCHEMA_VERSION:
            raise RegistryError(
                f"the registry {path} has format {version or 'none'}, this Feast reads {REGISTRY_SCHEMA_VERSION}: "
                f"install the Feast that wrote it, or {way_out}"
            )
        return read

    def _write_registry(self, registry_proto: RegistryProto) -> None:
        path: Path = self._filepath
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(utc_now())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, registry_proto.SerializeToString(), is_shared=True)
