"""Finds the places of a source file where one operator, number or bound can be changed."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_COMPARED: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
_COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_SWAPPED = {"min": "max", "minimum": "maximum", "fmin": "fmax", "any": "all", "min_horizontal": "max_horizontal"}
_SWAPPED |= {after: before for before, after in _SWAPPED.items()}
#: Arguments that state an expectation, or whose change shows by chance or not at all.
_UNTOUCHED_ARGUMENTS = frozenset({"strict", "cache", "nogil", "description", "maintain_order"})
_SIDES = {"left": "right", "right": "left"}
_LOGGERS = frozenset({"log", "_log", "logger", "_logger"})


@dataclass(frozen=True)
class Change:
    """Replaces the bytes `begin` to `end` of a file by `text`."""

    file: str
    line: int
    begin: int
    end: int
    text: str

    def apply(self, source: bytes) -> bytes:
        """The changed source."""
        return source[: self.begin] + self.text.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """The line before and after the change, stripped."""
        changed = self.apply(source).splitlines()
        return source.splitlines()[self.line - 1].decode().strip(), changed[self.line - 1].decode().strip()


def places(file: str, source: bytes) -> list[list[Change]]:
    """The possible changes of each place of a file: never in docstrings, types, decorators, messages or `__all__`.

    A number that a module or class binds to a name is a setting: a test that noticed its change could only repeat it.
    """
    found = [list(changes) for changes in _Finder(file, source).walk(ast.parse(source), at_top=True)]
    parsed = [[each for each in changes if _parses(each.apply(source))] for changes in found]
    return [changes for changes in parsed if changes]


def _parses(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


class _Finder:
    def __init__(self, file: str, source: bytes) -> None:
        self._file, self._source = file, source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def walk(self, node: ast.AST, *, at_top: bool = False) -> Iterator[list[Change]]:
        if changes := self._of_operation(node) or self._of_value(node):
            yield changes
        inside = isinstance(node, ast.Module | ast.ClassDef)
        for child in self._children(node):
            if not (inside and _is_setting(child)):
                yield from self.walk(child, at_top=inside)
        if isinstance(node, ast.BoolOp | ast.Compare):
            for changes in self._between_operands(node):
                yield changes

    @staticmethod
    def _children(node: ast.AST) -> Iterator[ast.AST]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_untouched(child):
                    yield child

    def _of_operation(self, node: ast.AST) -> list[Change]:
        match node:
            case ast.BinOp(left=left, op=op, right=right) if not _is_text_or_type(left, right):
                before, after = _COMPUTED.get(type(op), ("", ""))
                return self._operator(self._end(left), self._begin(right), before, [after])
            case ast.AugAssign(target=target, op=op, value=value):
                before, after = _COMPUTED.get(type(op), ("", ""))
                return self._operator(self._end(target), self._begin(value), f"{before}=", [f"{after}="])
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
                return [self._change(self._begin(node), self._begin(operand), "")]
        return []

    def _of_value(self, node: ast.AST) -> list[Change]:
        match node:
            case ast.Constant(value=bool(value)):
                return [self._change(self._begin(node), self._end(node), str(not value))]
            case ast.Constant(value=int(value) | float(value)):
                return [self._change(self._begin(node), self._end(node), str(round(value + by, 9))) for by in (1, -1)]
            case ast.keyword(arg="side", value=ast.Constant(value=str(value)) as side) if value in _SIDES:
                return [self._change(self._begin(side), self._end(side), f'"{_SIDES[value]}"')]
            case ast.Call(func=ast.Name(id=name)) if name in _SWAPPED:
                return [self._change(self._begin(node), self._begin(node) + len(name), _SWAPPED[name])]
            case ast.Call(func=ast.Attribute(attr=name) as function) if name in _SWAPPED:
                return [self._change(self._end(function) - len(name), self._end(function), _SWAPPED[name])]
        return []

    def _between_operands(self, node: ast.BoolOp | ast.Compare) -> Iterator[list[Change]]:
        if isinstance(node, ast.BoolOp):
            before, after = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in pairwise(node.values):
                yield self._operator(self._end(left), self._begin(right), before, [after])
            return
        for left, right, op in zip([node.left, *node.comparators], node.comparators, node.ops, strict=False):
            before, options = _COMPARED[type(op)]
            yield self._operator(self._end(left), self._begin(right), before, options)

    def _operator(self, begin: int, end: int, before: str, options: tuple[str, ...] | list[str]) -> list[Change]:
        """Changes of the operator `before` in the text between two operands; none where a comment stands there too."""
        gap = self._source[begin:end].decode()
        found = re.search(re.escape(before), gap) if before and "#" not in gap else None
        if found is None:
            return []
        at = begin + len(gap[: found.start()].encode())
        return [self._change(at, at + len(before), option) for option in options]

    def _change(self, begin: int, end: int, text: str) -> Change:
        line = self._source.count(b"\n", 0, begin) + 1
        return Change(self._file, line, begin, end, text)

    def _begin(self, node: ast.AST) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.AST) -> int:
        return self._starts[node.end_lineno - 1] + node.end_col_offset


def _is_setting(node: ast.AST) -> bool:
    match node:
        case ast.Assign(value=value) | ast.AnnAssign(value=value):
            parts = value.elts if isinstance(value, ast.Tuple) else [value]
            return all(
                isinstance(part.operand if isinstance(part, ast.UnaryOp) else part, ast.Constant) for part in parts
            )
    return False


def _is_untouched(node: ast.AST) -> bool:
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Assert():
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.keyword(arg=name):
            return name in _UNTOUCHED_ARGUMENTS
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
            return name in _LOGGERS
    return False


def _is_text_or_type(*operands: ast.AST) -> bool:
    for operand in operands:
        match operand:
            case ast.JoinedStr() | ast.Constant(value=str() | None):
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name) if name[:1].isupper() and not name.isupper():
                return True
            case ast.Name(id="int" | "str" | "float" | "bytes" | "bool"):
                return True
    return False
