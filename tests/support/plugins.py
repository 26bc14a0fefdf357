"""Plugins of this project as Python modules."""

import importlib.util
import sys
from types import ModuleType

from tests.conftest import REPOSITORY

PLUGINS = REPOSITORY / "plugins"


def load(kind: str, name: str) -> ModuleType:
    """Import a plugin as Ansible does: by its file."""
    spec = importlib.util.spec_from_file_location(f"{kind}_{name}", PLUGINS / kind / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
