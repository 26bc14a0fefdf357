"""Which tables the statements in the code write, and which columns, as far as the code shows it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cbmctl

CODE = Path(cbmctl.__file__).parent
_WRITE = re.compile(
    r"(?<!FOR )(?<!NO KEY )\b(UPDATE|INSERT\s+INTO|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?|COPY)\s+"
    r"(?:ONLY\s+)?(\{\w*\}|(?:public\.)?(?:tasks|dias_catalogue)\b)"
)
# How the code names tables that are neither the tasks nor the catalogue.
OTHERS = frozenset(
    f"{{{name}}}"
    for name in (
        "aois", "archived", "building", "came", "checks", "gone", "history", "hists", "items", "lineage",
        "orders", "overlaps", "pairs", "parcels", "raster", "rejected", "restored", "sets", "sigs", "staged",
        "syncs", "vanished",
    )
)  # fmt: skip
# Where one placeholder stands for several tables: those of statistics, of parcels, or of an archive.
SEVERAL = frozenset(
    {
        "maintenance/season_archive/restore.py",
        "parcels/parcel_history.py",
        "parcels/quality.py",
        "parcels/supersede.py",
    }
)


@dataclass(frozen=True)
class Write:
    """A statement: what it does, to which table, and its text from there on."""

    verb: str
    table: str
    text: str

    def sets(self, column: str) -> bool:
        """Whether it writes a column, or does not say which ones it writes."""
        if self.verb in ("INSERT INTO", "COPY"):
            named = re.match(r"(?:\s+AS\s+\w+)?\s*\(([^()]*)\)", self.text)
            if named is None or column in re.split(r"[\s,]+", named[1]):
                return True
        assigned = re.findall(r"\bSET\b(.*?)(?:\bWHERE\b|\bFROM\b|\bRETURNING\b|$)", self.text, re.DOTALL)
        return any(re.search(rf"\b{column}\b\s*(=|,[^=]*\)\s*=|\)\s*=)", each) for each in assigned)


def writes(code: str) -> Iterator[Write]:
    """The statements in the strings of a module; parts of an f-string that are computed are `{}`."""
    tree = ast.parse(code)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        for found in _WRITE.finditer(text):
            yield Write(" ".join(found[1].split()), found[2], text[found.end() :])


def writers() -> Iterator[tuple[str, Write]]:
    """The statements that may write tasks or the catalogue, with their modules; migrations are left out."""
    for path in sorted(CODE.rglob("*.py")):
        module = path.relative_to(CODE).as_posix()
        if module.startswith("schema/versions/"):
            continue
        for write in writes(path.read_text()):
            if write.table not in OTHERS and not (write.table == "{table}" and module in SEVERAL):
                yield module, write
