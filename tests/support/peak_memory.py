"""A process's peak memory."""

from pathlib import Path


def peak_mb() -> int:
    """The peak resident set of this process in MB.

    From VmHWM, because `ru_maxrss` of a new process starts at the size of the process that forked it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024
