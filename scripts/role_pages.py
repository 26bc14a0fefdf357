"""Write README.md and defaults/main.yml of each role from its meta: `role_pages.py [--check]`.

Before that, write the options of the extraction into the meta of the role tenant, from cbmctl.config.options.
Ansible does not apply a `default` of argument_specs.yml, so the role needs it in defaults/main.yml as well.
With --check, nothing is written, and the exit code is 1 if a file differs.
"""

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cbmctl.config.options import OPTIONS, Option

ROOT = Path(__file__).parents[1]
NOTE = "Written by scripts/role_pages.py from meta/argument_specs.yml. Change that file, then run the script."
HEADER = f"---\n# {NOTE}\n"
WIDTH = 120
# markup of Ansible's documentation: C(code), O(option), V(value), B(bold), I(italic)
MARKUP = re.compile(r"\b[COV]\(([^)]*)\)")


def defaults(text: str) -> str:
    """Return defaults/main.yml: each default as it is written in argument_specs.yml.

    Args:
        text: argument_specs.yml.
    """
    found: dict[str, str] = {}
    for entry in _entries(yaml.compose(text, Loader=yaml.SafeLoader)):
        for name, option in entry:
            for key, value in option.value:
                if key.value == "default":
                    found.setdefault(name, _written(text, key, value))
    return HEADER + "".join(f"{name}:{value}\n" for name, value in found.items())


def _entries(root: Any) -> Iterator[list[tuple[str, Any]]]:
    """Yield the options of each entry point: names and nodes."""
    (specs,) = [value for key, value in root.value if key.value == "argument_specs"]
    for _, entry in specs.value:
        for key, options in entry.value:
            if key.value == "options":
                yield [(name.value, option) for name, option in options.value]


def _written(text: str, key: Any, value: Any) -> str:
    """Return what follows the colon, with the indentation that it has in a file of its own."""
    written = text[key.end_mark.index + 1 : value.end_mark.index].rstrip()
    return re.sub(rf"\n {{{key.start_mark.column}}}", "\n", written)


def readme(role: str, specs: Mapping[str, Any], rules: Mapping[str, Any], used: list[str]) -> str:
    """Return README.md of a role.

    Args:
        role: its name.
        specs: what argument_specs.yml has, by entry point.
        rules: what rules.yml has, by variable.
        used: links to what uses the role.
    """
    parts = [
        f"# {role}",
        f"<!-- {NOTE} -->",
    ]
    known: set[str] = set()
    for entry, spec in specs.items():
        if entry != "main":
            parts.append(f"## {role}, tasks/{entry}.yml")
        parts.append(_wrapped(_plain(spec["short_description"]) + "."))
        parts += [_wrapped(_plain(text)) for text in _list(spec.get("description", []))]
        if entry == "main" and used:
            parts.append(_wrapped(f"Used by {', '.join(used)}."))
        options = {name: option for name, option in spec.get("options", {}).items() if name not in known}
        known |= set(options)
        lines = [line for name, option in options.items() for line in _variable(name, option, rules, "")]
        if lines:
            parts += [
                "## Variables" if entry == "main" else "Variables that only this entry point has:",
                "\n".join(lines),
            ]
    return "\n\n".join(parts) + "\n"


def _variable(name: str, option: Mapping[str, Any], rules: Mapping[str, Any], indent: str) -> Iterator[str]:
    kind = option.get("type", "str")
    facts = [f"{kind} of {option['elements']}" if kind == "list" and "elements" in option else kind]
    if option.get("required"):
        facts.append("required")
    if "default" in option:
        facts.append(f"default `{_value(option['default'])}`")
    if choices := option.get("choices"):
        facts.append(f"one of {', '.join(f'`{_value(choice)}`' for choice in choices)}")
    rule = rules.get(name.removeprefix("."), {})
    if limits := " to ".join(f"{rule[key]}" for key in ("min", "max") if key in rule):
        facts.append(limits if "max" in rule else f"at least {limits}")
    text = " ".join(_plain(part) for part in _list(option.get("description", [])))
    short = name.rpartition(".")[2]
    yield _wrapped(f"- `{short}` ({', '.join(facts)}): {text}", indent)
    for key, inner in (option.get("options") or {}).items():
        yield from _variable(f"{name}.{key}", inner, rules, indent + "  ")


def _value(value: Any) -> str:
    """Return a default in one line, as YAML has it."""
    if isinstance(value, str):
        return " ".join(value.split()) or '""'
    return _inline(value)


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _plain(text: str) -> str:
    return " ".join(MARKUP.sub(r"`\1`", text).split())


def _wrapped(text: str, indent: str = "") -> str:
    following = indent + ("  " if text.startswith("- ") else "")
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def with_extraction(text: str, lines: str) -> str:
    """Return a file of the role tenant's meta with the extraction's options between its two marks."""
    before, mark, rest = re.split(r"( *# options of the extraction: .*\n)", text)
    _, end, after = re.split(r"( *# end of the extraction's options\n)", rest)
    return f"{before}{mark}{lines}{end}{after}"


def specification(option: Option) -> str:
    """Return an option of the extraction as argument_specs.yml has it."""
    kind = {bool: "bool", str: "str", int: "int", float: "float"}[option.kind]
    entry = {
        "type": "list" if option.listed else kind,
        "default": list(option.default) if option.listed else option.default,
        "elements": kind if option.listed else None,
        "choices": list(option.choices) or None,
    }
    indent = " " * 10
    described = textwrap.fill(option.description, WIDTH, initial_indent=indent, subsequent_indent=indent)
    lines = [f"        {key}: {_inline(value)}\n" for key, value in entry.items() if value is not None]
    return f"      tenant_{option.name}:\n        description: >-\n{described}\n{''.join(lines)}"


def _inline(value: Any) -> str:
    """Return a value in one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("\n...")


def tenant_meta(meta: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of the role tenant's meta with the options of the extraction."""
    specs, rules = meta / "argument_specs.yml", meta / "rules.yml"
    yield specs, with_extraction(specs.read_text(), "".join(map(specification, OPTIONS)))
    limits = [
        f"tenant_{each.name}: {{min: {each.limits[0]}, max: {each.limits[1]}}}\n"
        for each in OPTIONS
        if each.limits
    ]
    yield rules, with_extraction(rules.read_text(), "".join(limits))


def users(role: str, roles: Path, playbooks: Path) -> list[str]:
    """Return links to the playbooks and roles that use a role, from its own page."""
    named = re.compile(rf"^ *- (role: )?{role}$|^ *name: {role}$|dependencies: \[.*\b{role}\b", re.MULTILINE)
    found = [
        (path.name, f"../../playbooks/{path.name}")
        for path in sorted(playbooks.glob("*.yml"))
        if named.search(path.read_text())
    ]
    for folder in sorted(roles.iterdir()):
        files = [*folder.glob("tasks/*.yml"), *folder.glob("meta/main.yml")]
        if folder.name != role and any(named.search(path.read_text()) for path in files):
            found.append((folder.name, f"../{folder.name}/README.md"))
    return [f"[`{name}`]({path})" for name, path in found]


def pages(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a role that are generated, with what should be in them."""
    meta = folder / "meta"
    text = (meta / "argument_specs.yml").read_text()
    rules = yaml.safe_load((meta / "rules.yml").read_text()) if (meta / "rules.yml").exists() else {}
    specs = yaml.safe_load(text)["argument_specs"]
    made = defaults(text)
    if made != HEADER:
        yield folder / "defaults" / "main.yml", made
    yield (
        folder / "README.md",
        readme(folder.name, specs, rules or {}, users(folder.name, folder.parent, ROOT / "playbooks")),
    )


def files() -> Iterator[tuple[Path, str]]:
    """Yield all generated files with what should be in them; first those that others are made of."""
    tenant = ROOT / "roles" / "tenant" / "meta"
    if tenant.exists():
        yield from tenant_meta(tenant)
    for folder in sorted((ROOT / "roles").iterdir()):
        yield from pages(folder)


def main(arguments: list[str]) -> int:
    """Write or check the files of all roles; return the exit code."""
    check, differing = "--check" in arguments, []
    for path, text in files():
        if not path.exists() or path.read_text() != text:
            differing.append(path.relative_to(ROOT))
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    if differing and check:
        print(f"These differ from what they are made of: {', '.join(map(str, differing))}.")
        print("Run .venv/bin/python scripts/role_pages.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
