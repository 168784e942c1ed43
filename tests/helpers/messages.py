"""The templates of what scripts say, read from the source: {} where something is put in."""

import ast
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, nodes

ROOT = Path(__file__).parents[2]
# what stays English: tests, measurements, and scripts that prepare data; and folders without code
ENGLISH = ("tests", "benchmarks", "studies", "tools", "data", "saved", "docs")
SAID = {"info", "warning", "error"}
NOT_FOLLOWED = {"FORMATS", "COLUMNS", "COMMON", "FIELDS"}  # tables of which messages give names, not words
REPORT = re.compile(r"web/report_\w+\.py")  # the modules that word a report's page
DEPTH = 4  # calls followed from a message to the functions that word its parts

Scope = ast.FunctionDef | ast.Module


class Source:
    """All modules of the repository whose messages are translated, and their functions and constants by name."""

    def __init__(self, root: Path = ROOT) -> None:
        rooms = [path for path in sorted(root.iterdir()) if path.name not in ENGLISH and not path.name.startswith(".")]
        paths = [path for room in rooms for path in ([room] if room.suffix == ".py" else sorted(room.rglob("*.py")))]
        self.modules = {path.relative_to(root): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
        self.functions: dict[str, list[tuple[ast.FunctionDef, ast.Module]]] = {}
        for module in self.modules.values():
            for node in ast.walk(module):
                if isinstance(node, ast.FunctionDef):
                    self.functions.setdefault(node.name, []).append((node, module))
        self.constants: dict[str, list[tuple[ast.expr, Scope, ast.Module]]] = {}
        for module in self.modules.values():
            for node in module.body:
                if isinstance(node, ast.Assign):
                    for name in (part.id for part in ast.walk(node) if isinstance(part, ast.Name)):
                        if name.isupper() and name not in NOT_FOLLOWED:
                            found = [(value, module, module) for value in assigned(module, name)]
                            self.constants.setdefault(name, []).extend(found)
        self.followed: set[int] = set()  # of the message at hand

    def messages(self) -> dict[str, tuple[str, bool]]:
        """Return each template that has words, with the place where it is said, and whether it is said by itself."""
        found: dict[str, tuple[str, bool]] = {}
        for path, module in self.modules.items():
            for scope in [module, *(node for node in ast.walk(module) if isinstance(node, ast.FunctionDef))]:
                for node in own_nodes(scope):
                    if (said := what_is_said(node)) is not None:
                        self.followed.clear()
                        for template in self.whole(said, scope, module, DEPTH):
                            is_whole = self._template(said, scope, module, 0, []) == template
                            for line in normal(template):
                                found.setdefault(line, (f"{path}:{node.lineno}", is_whole))
        return found

    def of_report(self) -> list[str]:
        """Return each template with words in the modules of the report: a page says all but their docstrings."""
        found: list[str] = []
        for path, module in self.modules.items():
            if REPORT.fullmatch(path.as_posix()):
                for node in outermost_texts(module):
                    self.followed.clear()
                    found += [line for text in self.whole(node, module, module, 0) for line in normal(text)]
        return found

    def whole(self, node: ast.expr, scope: Scope, module: ast.Module, depth: int) -> list[str]:
        """Return the templates that an expression can become, and those of its parts after them."""
        parts: list[str] = []
        first = self._template(node, scope, module, depth, parts)
        return [*([first] if first is not None else []), *parts]

    def _template(self, node: ast.expr, scope: Scope, module: ast.Module, depth: int, parts: list[str]) -> str | None:
        """Return the template of an expression, None where it is no text; what is put in is added to parts."""
        more = [scope, module, depth]
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.JoinedStr):
            return "".join(self._put_in(value, *more, parts) for value in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._put_in(node.left, *more, parts) + self._put_in(node.right, *more, parts)
        for inner in self._inner(node, scope, module):
            parts += self.whole(inner, *more)
        if depth:
            parts += self._elsewhere(node, scope, module, depth - 1)
        return None

    def _put_in(self, node: ast.expr, scope: Scope, module: ast.Module, depth: int, parts: list[str]) -> str:
        if isinstance(node, ast.FormattedValue):
            parts += self.whole(node.value, scope, module, depth)
            return "{}"
        found = self._template(node, scope, module, depth, parts)
        return "{}" if found is None else found

    def _inner(self, node: ast.expr, scope: Scope, module: ast.Module) -> list[ast.expr]:
        """Return the expressions that can take the place of one."""
        match node:
            case ast.IfExp():
                return [node.body, node.orelse]
            case ast.BoolOp():
                return node.values
            case ast.BinOp(left=left, op=ast.Mult()):
                return [left]
            case ast.NamedExpr():
                return [node.value]
            case ast.Subscript(value=ast.Dict() as choices):
                return choices.values
            case ast.Call(func=ast.Attribute(attr="join"), args=[joined]):
                return [joined]
            case ast.Call(func=ast.Attribute(value=value, attr="removesuffix" | "rstrip" | "format" | "get")):
                return [value, *node.args[1:]]
            case ast.GeneratorExp() | ast.ListComp():
                return [node.elt]
            case ast.List() | ast.Tuple():
                return node.elts
            case ast.Starred():
                return [node.value]
        return []

    def _elsewhere(self, node: ast.expr, scope: Scope, module: ast.Module, depth: int) -> list[str]:
        """Return the templates of what a name stands for, or a call returns."""
        found: list[str] = []
        if id(node) in self.followed:
            return found
        self.followed.add(id(node))
        match node:
            case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
                local = [(value, scope, module) for value in assigned(scope, name) if name not in NOT_FOLLOWED]
                for value, where, home in local or self.constants.get(name, []):
                    for each in value.values if isinstance(value, ast.Dict) else [value]:
                        found += self.whole(each, where, home, depth)
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                there = self.functions.get(name, [])
                near = [each for each in there if each[1] is module]
                for function, home in near or (there if isinstance(node.func, ast.Name) else []):
                    for value in returned(function):
                        found += self.whole(value, function, home, depth)
                for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                    found += self.whole(argument, scope, module, depth)
        return found


def what_is_said(node: ast.AST) -> ast.expr | None:
    """Return the expression of a message, if a node gives one to people."""
    match node:
        case ast.Raise(exc=ast.Call(args=[said, *_])):
            return said
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=attr), args=[said, *_]) if attr in SAID:
            return said
        case ast.Call(func=ast.Name(id="print" | "Legal" | "within"), args=[said, *_]):
            return said
    return None


def outermost_texts(module: ast.Module) -> list[ast.expr]:
    """Return the texts of a module, those that are put together whole, without docstrings."""
    waiting: list[ast.AST] = [module]
    found: list[ast.expr] = []
    while waiting:
        match waiting.pop():
            case ast.Expr(value=ast.Constant()):
                continue
            case (ast.JoinedStr() | ast.Constant(value=str()) | ast.BinOp(op=ast.Add())) as text:
                found.append(text)
            case node:
                waiting += ast.iter_child_nodes(node)
    return found


def of_template(path: Path = ROOT / "web" / "report.html.jinja") -> list[str]:
    """Return what a template of a page says by itself: the constants that go through its filter said."""
    said = Environment().parse(path.read_text(encoding="utf-8")).find_all(nodes.Filter)
    constants = [inner for node in said if node.name == "said" for inner in [node.node, *node.find_all(nodes.Const)]]
    texts = [node.value for node in constants if isinstance(node, nodes.Const) and isinstance(node.value, str)]
    return [text for text in dict.fromkeys(texts) if text.strip(" ,")]


@cache
def own_nodes(scope: Scope) -> list[ast.AST]:
    """Return the nodes of a function or module without those of functions in it."""
    found, waiting = [], list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


@cache
def assigned(scope: Scope, name: str) -> list[ast.expr]:
    """Return what is assigned to a name in a function or module, also where several names are at once."""
    found = []
    for node in own_nodes(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                found.append(value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                pairs = zip(names, values, strict=False)
                found += [value for each, value in pairs if isinstance(each, ast.Name) and each.id == name]
            case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
                found.append(value)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                found.append(value)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=target), attr="append"), args=[value]) if target == name:
                found.append(value)
    return found


@cache
def returned(function: ast.FunctionDef) -> list[ast.expr]:
    """Return what a function returns."""
    return [node.value for node in own_nodes(function) if isinstance(node, ast.Return) and node.value is not None]


def normal(template: str) -> list[str]:
    """Return the lines of a template as the catalogue has them, those that have words."""
    lines = (re.sub(r"(\{\})+", "{}", line.strip(" ;,:")) for line in template.split("\n"))
    return [line for line in lines if has_words(line)]


def has_words(line: str) -> bool:
    """Say whether a template is a sentence or a part of one: two words, or one beside what is put in."""
    words = re.findall(r"(?<![\w@.-])[A-Za-z]{2,}(?![\w@.=-])", line)
    return len(words) + ("{}" in line) >= 2
