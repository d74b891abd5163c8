#!/usr/bin/python
"""Ansible module: many small settings of a host in one go."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: hardening_files
short_description: Write many small files of root, settings of login.defs and modes of files
description:
  - As C(copy), C(lineinfile) and C(file) do one by one. A host takes a third of a second for each of those,
    and hardening has two dozen.
  - A file is written whole or not at all. Nothing is changed that is as it should be.
options:
  files:
    type: list
    elements: dict
    default: []
    description: C(path), C(content) and C(mode) of files that root owns.
  settings:
    type: dict
    default: {}
    description: Name and value of settings of C(settings_file), of which the last line counts.
  settings_file: {type: path, default: /etc/login.defs, description: Lines of a name and a value.}
  modes: {type: dict, default: {}, description: Path and mode of what exists; what does not is left out.}
"""


def with_settings(text: str, settings: dict[str, str]) -> str:
    """The text with one line for each setting, in the place of the first that it had."""
    for name, value in settings.items():
        line = f"{name} {value}\n"
        pattern = re.compile(rf"^{re.escape(name)}[ \t].*\n", re.MULTILINE)
        if pattern.search(text):
            head, rest = pattern.split(text, maxsplit=1)
            text = head + line + pattern.sub("", rest)
        else:
            text = (text if text.endswith("\n") or not text else text + "\n") + line
    return text


def write(path: Path, content: str, mode: int, check: bool) -> dict[str, Any] | None:
    """Make a file have this content and mode; the difference, or None when it had them."""
    try:
        before, now = path.read_text("utf-8", "replace"), path.stat()
        same = before == content and now.st_mode & 0o7777 == mode and (now.st_uid, now.st_gid) == (0, 0)
    except FileNotFoundError:
        before, same = "", False
    if same:
        return None
    if not check:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(content, "utf-8")
            os.chown(temporary, 0, 0)
            temporary.chmod(mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return {"before_header": str(path), "after_header": str(path), "before": before, "after": content}


def main() -> None:
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "settings": {"type": "dict", "default": {}},
            "settings_file": {"type": "path", "default": "/etc/login.defs"},
            "modes": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    p, changed, differences = module.params, [], []
    wanted = [(Path(one["path"]), one["content"], int(one["mode"], 8)) for one in p["files"]]
    try:
        if p["settings"]:
            path = Path(p["settings_file"])
            wanted.append((path, with_settings(path.read_text("utf-8"), p["settings"]), 0o644))
        for path, content, mode in wanted:
            if difference := write(path, content, mode, module.check_mode):
                changed.append(str(path))
                differences.append(difference)
        for name, text in p["modes"].items():
            path, mode = Path(name), int(text, 8)
            if path.exists() and path.stat().st_mode & 0o7777 != mode:
                changed.append(name)
                if not module.check_mode:
                    path.chmod(mode)
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}", changed=bool(changed))
    module.exit_json(changed=bool(changed), paths=changed, diff=differences)


if __name__ == "__main__":
    main()
