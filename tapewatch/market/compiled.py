"""Compiled functions (kernels) and the folder that keeps their machine code.

Numba recompiles a kept function when its own file changes, but not when a function or constant that it uses from another
file does. Here the code of a module's kernels is kept in a folder named after a digest of the module, of every module of
ours that it imports, directly or not, and of the versions of Python, NumPy and Numba.
"""

import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import filelock
import numba
import numpy as np
from numba.core import caching

__all__ = ["kernels", "njit"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: Every kernel of the modules imported so far.
kernels: Final[list[Any]] = []

_NAME = __name__.partition(".")[0]
_PACKAGE = Path(__file__).parents[__name__.count(".") - 1]
_VERSIONS = f"{platform.python_implementation()} {sys.version} {np.__version__} {numba.__version__}"
# Kernels are in the library and in the models beside it.
_OURS = rf"(?:{_NAME}|models)\b[\w.]*"
_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+({_OURS})[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+({_OURS}))",
    re.MULTILINE,
)


def njit(**options: Any) -> Callable[[_Function], _Function]:
    """Numba's `njit(**options)`; with `cache=True` the code is kept until a source that it depends on changes."""
    is_kept = options.pop("cache", False)

    def decorate(function: _Function) -> _Function:
        kernel: Any = numba.njit(**options)(function)
        kernels.append(kernel)
        if is_kept:
            kernel._cache = _KernelCache(function)  # type: ignore[no-untyped-call]
        return cast(_Function, kernel)

    return decorate


class _Locator(caching._CacheLocator):
    """The folder of a module's kernels. A folder that cannot be written is still read."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._line = function.__code__.co_firstlineno
        self._stamp = _digest(Path(file))
        self._module = function.__module__
        self._folder = _folder(f"{self._module}-{self._stamp}")

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator":
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._stamp

    def get_disambiguator(self) -> str:
        return str(self._line)

    def ensure_cache_path(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
            for other in self._folder.parent.glob(f"{self._module}-*"):
                if other != self._folder:
                    shutil.rmtree(other, ignore_errors=True)


class _Code(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - Numba types it so


class _KernelCache(caching.FunctionCache):
    """Numba's cache of one function, with one writer at a time.

    Two processes that first meet two signatures of a function at the same time would give both the same file name: each
    would later run the code of the other's types. Reading needs no lock, as files are swapped in whole and, in a folder
    of one digest, a name is never given to a second signature.
    """

    _impl_class = _Code

    def load_overload(self, signature: Any, target: Any) -> Any:
        with suppress(OSError):
            return super().load_overload(signature, target)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        # In a folder that cannot be written, or on a full disk, the process goes on with the code in its memory.
        with suppress(OSError):
            self._impl.locator.ensure_cache_path()
            with filelock.FileLock(Path(self.cache_path) / "writer.lock"):
                super().save_overload(signature, result)  # type: ignore[no-untyped-call]


def _folder(name: str) -> Path:
    """A folder of kernels: where Numba's setting says, else beside the package, else in the user's cache."""
    if configured := getattr(numba.config, "CACHE_DIR", ""):
        return Path(configured) / name
    beside = _PACKAGE / "__pycache__" / "kernels" / name
    if not beside.is_dir() and not os.access(_PACKAGE, os.W_OK):
        with suppress(RuntimeError):  # a user without a home
            users = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
            return users / _NAME / hashlib.sha256(bytes(_PACKAGE)).hexdigest()[:16] / name
    return beside


@cache
def _digest(file: Path) -> str:
    """Digest of the versions, of a source file and of all files of the package that it imports, directly or not."""
    files, waiting = {file}, [file]
    while waiting:
        new = _source(waiting.pop())[1] - files
        files |= new
        waiting.extend(new)
    digest = hashlib.sha256(_VERSIONS.encode())
    for content in sorted(_source(each)[0] for each in files):
        digest.update(content)
    return digest.hexdigest()[:20]


@cache
def _source(file: Path) -> tuple[bytes, frozenset[Path]]:
    """The digest of a file's content, and the files of the package that it imports."""
    content = file.read_bytes()
    found = {_file(name) for name in _imported(content.decode())}
    return hashlib.sha256(content).digest(), frozenset(path for path in found if path)


def _imported(source: str) -> Iterator[str]:
    for module, names, alone in _IMPORT.findall(source):
        yield module or alone
        for name in re.findall(r"\w+", names):
            yield f"{module}.{name}"


@cache
def _file(name: str) -> Path | None:
    """The source of a module of the package, or None for a name that is no module."""
    path = _PACKAGE.parent.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
