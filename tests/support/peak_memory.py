"""How much memory a process took at most."""

from pathlib import Path


def peak_mb() -> int:
    """The peak resident set of this process since it was started, in MB.

    From VmHWM: the `ru_maxrss` of a fresh process begins at the size of the one that forked it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024
