"""Settings read by several threads at once."""

import subprocess
import sys
from pathlib import Path

#: The class is prepared when the first thread uses it, and the second one uses it meanwhile.
TWO_THREADS = """
import pathlib, sys, threading, time
import msgspec
from tapewatch.toml_tables import TomlTable

is_begun = threading.Event()

def text():
    is_begun.set()
    time.sleep(0.3)
    return str

class Inner(msgspec.Struct):
    name: "text()"

class Section(msgspec.Struct):
    inner: Inner

path = pathlib.Path(sys.argv[1])
path.write_text("[part]\\ninner.name = 'a'")
table = TomlTable(path, "the table", ValueError)

def read():
    sys.stdout.write(table.convert("part", table.document["part"], Section).inner.name)

threads = [threading.Thread(target=read) for _ in range(2)]
threads[0].start()
is_begun.wait()
threads[1].start()
for thread in threads:
    thread.join()
"""


def test_two_threads_may_be_the_first_to_read_a_kind_of_section(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWO_THREADS, str(tmp_path / "table.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "aa"), done.stderr
