"""The image of the scoring service: built without an engine, and started as its user on a closed root by its own entry point.

The first build on a machine makes Debian's base, which is kept, as layers are whose sources stay the same.
"""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.deployment.images import BUILD, check_serving, ports, put_bento
from tests.support.containers import Container, container, is_possible

REASON = is_possible()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(REASON), reason=REASON),
]
#: Without compiled Python, which costs more than all the rest: each process of the container keeps for the next what it compiled.
KEPT = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": "/tmp/compiled"}  # noqa: S108 - of the container


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    given = {"BYTECODE": "--no-compile-bytecode", "TAG": "tested"}
    done = subprocess.run([BUILD, "scoring"], env=os.environ | given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    home = tmp_path_factory.mktemp("volume")
    put_bento(home)
    with container("scoring:tested", home, {**ports(), **KEPT}) as found:
        yield found


def test_the_image_serves_the_model_of_its_volume_and_is_healthy(scoring: Container) -> None:
    check_serving(scoring)


def test_without_a_token_it_exits_and_names_the_way_out(scoring: Container) -> None:
    said = scoring.with_settings(TAPEWATCH_HOST="0.0.0.0").refusal()  # noqa: S104
    assert "set TAPEWATCH_TOKEN to a secret" in said
