"""Imports within cbmctl point one way: between packages, between modules, and within each package."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import cbmctl

ROOT = Path(cbmctl.__file__).parent
# From top to bottom: each package imports only those of lines below its own.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("worker", "ordering", "maintenance", "report"),
    ("catalogue", "archive", "aoi"),
    ("parcels",),
    ("queue", "scenes"),
    ("schema", "pixels", "demo"),
    ("database",),
    ("config",),
    ("errors", "error_codes", "invocation", "reasons", "network_errors", "retry", "steps"),
)
LAYER = {package: number for number, layer in enumerate(LAYERS) for package in layer}
# Migrations stand for themselves: alembic loads them by their path.
FILES = [path for path in sorted(ROOT.rglob("*.py")) if "versions" not in path.parts]


def name_of(path: Path) -> str:
    """The name of a module below cbmctl; "" is cbmctl itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def imported(path: Path) -> set[str]:
    """Modules that a file imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                is_module = submodule.removeprefix("cbmctl.") in MODULES
                found.add(submodule if is_module else str(node.module))
    ours = {name.removeprefix("cbmctl.") for name in found if name.startswith("cbmctl.")}
    assert ours <= set(MODULES), f"{path}: no such module"
    return ours


IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def listed(package: str) -> list[str]:
    """The modules in a package's docstring, in its order."""
    docstring = ast.get_docstring(ast.parse(MODULES[package].read_text())) or ""
    lines = re.findall(r"^- (.*?):", docstring, re.MULTILINE)
    return [name for line in lines for name in re.findall("`([a-z0-9_]+)`", line)]


def children(package: str) -> set[str]:
    return {
        name.removeprefix(f"{package}.").split(".")[0] for name in MODULES if name.startswith(f"{package}.")
    }


def test_every_package_has_its_layer() -> None:
    assert set(LAYER) == {name.split(".")[0] for name in MODULES if name}


def test_packages_import_only_what_is_below_them() -> None:
    upward = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if (mine := name.split(".")[0]) != (its := other.split(".")[0]) and LAYER[mine] >= LAYER[its]
    ]
    assert upward == []


def test_modules_import_each_other_in_no_circle() -> None:
    assert len(list(TopologicalSorter(IMPORTS).static_order())) == len(MODULES)


def test_each_package_lists_its_modules_from_top_to_bottom() -> None:
    wrong = []
    for package in MODULES:
        if not package or not (modules := children(package)):
            continue
        order = listed(package)
        assert sorted(order) == sorted(modules), f"the docstring of {package}"
        for name, others in IMPORTS.items():
            for other in others:
                if not (name.startswith(f"{package}.") and other.startswith(f"{package}.")):
                    continue
                mine, its = (each.removeprefix(f"{package}.").split(".")[0] for each in (name, other))
                if order.index(mine) > order.index(its):
                    wrong.append(f"{package}: {mine} imports {its}, which is listed above it")
    assert wrong == []
