"""A real S3 server for tests (SeaweedFS), on free ports, with credentials of its own."""

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import s3fs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support import ask
from tests.support.ports import free_ports

_WEED = str(Path(sys.executable).parent / "weed")
_KEY, _SECRET = "tests", "not-a-secret-" + "x" * 20  # pragma: allowlist secret
_RIGHTS = ["Admin", "Read", "Write", "List", "Tagging"]


@dataclass
class S3Server:
    """A running server. `environment` makes s3fs, boto3 and MLflow use it."""

    folder: Path
    ports: list[int]
    address: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.ports[0]}"

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Make this process and its children use it."""
        for name, value in self.environment.items():
            patch.setenv(name, value)
        # Its instances keep the address with which they were made.
        s3fs.S3FileSystem.clear_instance_cache()

    def client(self) -> Any:
        """boto3's client."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_SECRET,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=30),
        )

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"t{uuid.uuid4().hex}"
        self.client().create_bucket(Bucket=name)
        return name

    def start(self) -> None:
        """Start it, with the data that the folder holds; returns once it answers."""
        s3, filer, master, volume, *grpc = self.ports
        identity = {"name": _KEY, "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": _RIGHTS}
        config = self.folder / "identities.json"
        config.write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir(exist_ok=True)
        options = {
            "ip": self.address,
            "ip.bind": self.address,
            "dir": self.folder / "data",
            "master.port": master,
            "master.port.grpc": grpc[0],
            "master.volumeSizeLimitMB": 64,
            "volume.port": volume,
            "volume.port.grpc": grpc[1],
            "volume.max": 0,
            "filer.port": filer,
            "filer.port.grpc": grpc[2],
            "s3.port": s3,
            "s3.port.grpc": grpc[3],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": config,
        }
        command = [_WEED, "server", "-filer", "-s3", *(f"-{name}={value}" for name, value in options.items())]
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "weed.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.2)

    def _answers(self) -> bool:
        """Whether an object can be written: the parts of the server find each other some seconds after they answer."""
        try:
            ask.get(f"{self.url}/status", timeout=5, trust_env=False)
            client = self.client()
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="probe", Body=b"1")
        except (httpx.HTTPError, BotoCoreError, ClientError):
            return False
        return True

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, or kill it."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(180)
            self.process = None


@contextmanager
def s3_server(folder: Path, address: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run a server until the end of the block; its data is in `folder`."""
    server = S3Server(folder, free_ports(8), address)
    try:
        server.start()
        yield server
    finally:
        # An orderly end waits for clients that there are none of.
        server.stop(signal.SIGKILL)
