"""The modules of the package `queue` are layers: each imports only those below it."""

import ast
import re
from pathlib import Path

import cbmctl
from cbmctl import queue

PACKAGE = Path(queue.__file__).parent
# What tasks and scenes are made of: nothing of it knows that there is a queue.
BELOW = {"config", "database", "errors", "reasons"}
# In the order in which the package's docstring lists them.
LAYERS = [
    name
    for line in re.findall(r"^- (.*?):", queue.__doc__ or "", re.MULTILINE)
    for name in re.findall("`([a-z_]+)`", line)
]


def imported(file: Path) -> set[str]:
    """Modules of cbmctl that a file imports: `database`, `queue.overlap`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{file.name}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    root = Path(cbmctl.__file__).parent
    names = {name.removeprefix("cbmctl.") for name in found if name.startswith("cbmctl.")}
    return {
        name
        for name in names
        if (root / name.replace(".", "/")).with_suffix(".py").exists() or (name.count(".") == 0)
    } - {"queue"}


def test_every_module_has_its_place() -> None:
    assert sorted(LAYERS) == sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def test_imports_point_one_way() -> None:
    wrong = [
        f"{module} imports {name}"
        for place, module in enumerate(LAYERS)
        for name in imported(PACKAGE / f"{module}.py")
        if name.partition(".")[0] not in BELOW and name.removeprefix("queue.") not in LAYERS[place + 1 :]
    ]
    assert wrong == []


def test_nothing_below_knows_the_queue() -> None:
    root = Path(cbmctl.__file__).parent
    files = [path for name in BELOW for path in root.glob(f"{name}*/**/*.py")]
    files += [root / f"{name}.py" for name in BELOW if (root / f"{name}.py").exists()]
    assert len(files) >= len(BELOW)
    assert [str(path) for path in files if any(name.startswith("queue") for name in imported(path))] == []
