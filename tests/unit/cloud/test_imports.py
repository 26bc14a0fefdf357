"""Imports in plugins/module_utils/cloud point one way, in the order of the package's docstring."""

import ast
import re

from tests.support.plugins import PLUGINS

PACKAGE = PLUGINS / "module_utils" / "cloud"
FILES = {file.stem: ast.parse(file.read_text()) for file in PACKAGE.glob("*.py")}


def test_imports_point_one_way() -> None:
    order = (ast.get_docstring(FILES["__init__"]) or "").split("one way: ")[1]
    layers = [re.findall(r"\w+", layer) for layer in order.split("->")]
    level = {name: number for number, names in enumerate(layers) for name in names}
    assert set(level) == set(FILES) - {"__init__"}
    for name, own in level.items():
        nodes = [
            node for node in ast.walk(FILES[name]) if isinstance(node, ast.ImportFrom) and node.level == 1
        ]
        below = {node.module or alias.name for node in nodes for alias in node.names}
        assert {each for each in below if level[each] >= own} == set(), name


def test_one_idea_a_file() -> None:
    assert {name for name in FILES if len((PACKAGE / f"{name}.py").read_text().splitlines()) > 250} == set()
