"""The modules of the role ``app``, loaded under the names that they import each other by."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROLE = Path(__file__).parents[2] / "roles/app"
SHARED = ROLE.parents[1] / "plugins/module_utils"


def load(name: str, path: Path) -> ModuleType:
    """A file of the role as the module ``name``."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def load_state() -> Any:
    """What modules of several roles use."""
    return load("ansible.module_utils.app_release_state", SHARED / "app_release_state.py")


@functools.cache
def load_release() -> Any:
    """The module ``app_release``."""
    load_state()
    for name in ("app_deploy_lock", "app_environment_file", "app_release_host", "app_release_workers"):
        load(f"ansible.module_utils.{name}", ROLE / "module_utils" / f"{name}.py")
    return load("app_release", ROLE / "library/app_release.py")


@functools.cache
def load_migrations() -> Any:
    """The module ``migrations`` of the role of that name."""
    return load("migrations_module", ROLE.parent / "migrations/library/migrations.py")
