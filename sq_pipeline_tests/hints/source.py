"""The hints that the source has, read from its syntax: each as a template, with a hole where a value goes.

Not here: carrying one out (`ways`), and which are carried out where.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, product
from pathlib import Path

import sq_pipeline

HOLE = "…"
ROOT = Path(sq_pipeline.__file__).parent
CONSTRUCTORS = ("command", "option", "pass_option")
# who takes a hint, and as which of its arguments
_TAKES = {
    "Fault": 3, "LikeFault": 3, "Kind": 2, "wrong": 1, "of_type": 2, "Refusal": 1, "only": 2, "Words": 2, "fault": 2,
    "_refuse": 3, "_Refused": 1, "_WrongValueError": 1,
}  # fmt: skip
_LOCAL_TAKES = {("adapters/safetensors_file.py", "_fault"): 3}
_CONSTANTS = ("must_be", "only_ours", "hint")  # of classes
# tables of a problem and a hint, and functions that give such a pair: the hint is the last of each
_PAIRS = {
    "adapters/file_kinds.py": ("_MARKS", "name_kind"),
    "adapters/keymap_checks.py": ("_faults_of",),
    "adapters/remap/doubts.py": ("_doubts",),
    "adapters/strip_names.py": ("find_strip",),
    "adapters/reading_faults.py": ("_CONVERT",),
    "common/picture_paths.py": ("why_wrong",),
    "common/yaml_words.py": ("_tab", "_strange_space", "_template", "_first_sign", "_colon", "_after_quote"),
    "content/pack_parts.py": ("as_text",),
    "content/near_files.py": ("_NOT_READ",),
    "engines/trainers/mflux_train/config.py": ("_problems",),
    "training/pictures/formats.py": ("_OTHER_PICTURES", "_HEIC", "_MARKS", "describe_unreadable"),
    "training/recipe_keys.py": ("_NONE_HERE", "hint_for_foreign_key"),
}
_MOST = 64  # templates of one expression
_looked_up: set[tuple[str, str]] = set()


@dataclass
class Module:
    """A module's syntax. `file`: below the package."""

    file: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict[ast.AST, ast.AST])

    def __post_init__(self) -> None:
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def around(self, node: ast.AST) -> ast.AST:
        """The function that a node is in, or the module."""
        while not isinstance(node, (ast.FunctionDef, ast.Module)):
            node = self.parents[node]
        return node


@cache
def modules() -> tuple[Module, ...]:
    """The package's modules."""
    paths = sorted(ROOT.rglob("*.py"))
    return tuple(Module(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))) for path in paths)


@dataclass(frozen=True, order=True)
class Template:
    """A hint as the source has it, and where."""

    text: str
    file: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a hint of it looks like."""
        return re.compile(".*".join(map(re.escape, self.text.split(HOLE))), re.DOTALL)


@cache
def templates() -> tuple[Template, ...]:
    """Every hint of the source; those without a word of their own are passed on from elsewhere, and left out."""
    found = {Template(text, module.file) for module in modules() for text in _texts_in(module)}
    return tuple(sorted(one for one in found if re.search(r"\w", one.text.replace(HOLE, ""))))


def _texts_in(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            for given in _given_to(module, node):
                yield from texts_of(module, given)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(module.parents[node], ast.ClassDef):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in _CONSTANTS and node.value is not None:
                yield from texts_of(module, node.value)
    for name in _PAIRS.get(module.file, ()):
        yield from _of_pairs(module, name)


def _given_to(module: Module, call: ast.Call) -> Iterator[ast.expr]:
    name = call_name(call)
    at = _LOCAL_TAKES.get((module.file, name), _TAKES.get(name))
    if at is not None and len(call.args) > at and not any(isinstance(one, ast.Starred) for one in call.args):
        yield call.args[at]
    yield from (keyword.value for keyword in call.keywords if keyword.arg == "hint")


def call_name(call: ast.Call) -> str:
    """The last part of what is called."""
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _of_pairs(module: Module, name: str) -> Iterator[str]:
    node = next(one for one in module.tree.body if _defines(one, name))
    for one in ast.walk(node):
        if isinstance(one, ast.Tuple) and _is_pair(module, one):
            yield from texts_of(module, one.elts[-1])
        elif isinstance(one, ast.Return) and isinstance(one.value, (ast.JoinedStr, ast.IfExp)):
            yield from texts_of(module, one.value)
        elif isinstance(one, ast.Dict):
            for value in one.values:
                yield from texts_of(module, value) if not isinstance(value, ast.Tuple) else ()
        elif isinstance(one, ast.Call) and call_name(one) == "fromkeys" and not isinstance(one.args[1], ast.Tuple):
            yield from texts_of(module, one.args[1])


def _is_pair(module: Module, one: ast.Tuple) -> bool:
    """True for a value of some parts, none of them a pair itself, and not for what is looped or looked through."""
    around = module.parents[one]
    if isinstance(around, ast.Call) and call_name(around) == "fromkeys":
        return one is around.args[1]
    within = module.parents.get(around)
    is_looked_through = isinstance(around, (ast.For, ast.Compare, ast.Subscript)) or isinstance(within, ast.For)
    is_value = isinstance(one.ctx, ast.Load) and len(one.elts) > 1 and not is_looked_through
    return is_value and not any(isinstance(inner, ast.Tuple) for inner in one.elts)


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target is not None and any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(target))


def texts_of(module: Module, node: ast.expr, depth: int = 0) -> list[str]:
    """What an expression may be, with holes."""
    if depth > 8:
        return [HOLE]
    again = depth + 1
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else [] if node.value is None else [HOLE]
    if isinstance(node, ast.JoinedStr):
        return _joined([texts_of(module, part, again) for part in node.values])
    if isinstance(node, ast.FormattedValue):
        found = texts_of(module, node.value, again)
        return [repr(one) if node.conversion == ord("r") and one != HOLE else one for one in found]
    if isinstance(node, ast.IfExp):
        return texts_of(module, node.body, again) + texts_of(module, node.orelse, again)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in texts_of(module, value, again)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([texts_of(module, node.left, again), texts_of(module, node.right, again)])
    if isinstance(node, ast.Tuple):
        return texts_of(module, node.elts[-1], again) if node.elts else []
    if isinstance(node, ast.Call):
        return _called(module, node, again)
    if isinstance(node, ast.Name):
        return _assigned(module, node, again) or [HOLE]
    return [HOLE]


def _joined(parts: list[list[str]]) -> list[str]:
    return ["".join(chosen) for chosen in islice(product(*parts), _MOST)]


def words_of(module: Module, call: ast.Call) -> list[list[str]]:
    """The words that a constructor is called with, a list of alternatives each."""
    return [[HOLE] if isinstance(one, ast.Starred) else texts_of(module, one) for one in call.args]


def _called(module: Module, call: ast.Call, depth: int) -> list[str]:
    name = call_name(call)
    if name in CONSTRUCTORS:
        words = words_of(module, call)[1:] if name == "option" else words_of(module, call)
        lines = [" ".join(chosen) for chosen in islice(product(*words), _MOST)]
        return [{"command": f"`sq-pipeline {one}{HOLE}`", "pass_option": f"pass {one}"}.get(name, one) for one in lines]
    made = next((one for one in module.tree.body if isinstance(one, ast.FunctionDef) and one.name == name), None)
    if made is None or isinstance(call.func, ast.Attribute):
        return [HOLE]
    returned = [one.value for one in ast.walk(made) if isinstance(one, ast.Return) and one.value is not None]
    return [text for value in returned for text in texts_of(module, value, depth)] or [HOLE]


def _assigned(module: Module, name: ast.Name, depth: int) -> list[str]:
    """What a name was given, in its function or else in the module; with what was added to it.

    A name that is given something more of itself is a hole there.
    """
    if (module.file, name.id) in _looked_up:
        return []
    _looked_up.add((module.file, name.id))
    try:
        return _given(module, name, depth)
    finally:
        _looked_up.remove((module.file, name.id))


def _given(module: Module, name: ast.Name, depth: int) -> list[str]:
    for scope in dict.fromkeys((module.around(name), module.tree)):
        given: list[str] = []
        added: list[str] = []
        for node in ast.walk(scope):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name.id:
                added += texts_of(module, node.value, depth)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                given += _unpacked(module, target, node.value, name.id, depth)
            elif isinstance(node, ast.NamedExpr) and node.target.id == name.id:
                given += texts_of(module, node.value, depth)
        if given:
            return [*given, *(one + more for one in given for more in added)]
    return []


def _unpacked(module: Module, target: ast.expr, value: ast.expr, name: str, depth: int) -> list[str]:
    if isinstance(target, ast.Name):
        return texts_of(module, value, depth) if target.id == name else []
    if not isinstance(target, ast.Tuple):
        return []
    names = [one.id if isinstance(one, ast.Name) else "" for one in target.elts]
    if name not in names:
        return []
    chosen = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    return [
        text
        for one in chosen
        for text in (
            texts_of(module, one.elts[names.index(name)], depth)
            if isinstance(one, ast.Tuple) and len(one.elts) == len(names)
            else [HOLE]
        )
    ]
