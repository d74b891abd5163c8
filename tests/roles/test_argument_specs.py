"""Every role says what it takes, and its defaults and its specification do not part."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from sandbox import role_docs
from steward.operations.settings import NotifySecrets, PingSecrets
from tests.roles.rendering import ROLES, evaluate, load, role_names

#: A default that is left out on purpose: `# name: example` at the start of a line.
COMMENTED = re.compile(r"^# (?P<name>[a-z0-9_]+):", re.MULTILINE)


def options(role: str) -> dict[str, Any]:
    spec: dict[str, Any] = load(ROLES / role / "meta" / "argument_specs.yml")
    return dict(spec["argument_specs"]["main"]["options"])


def defaults(role: str) -> dict[str, Any]:
    return dict(load(ROLES / role / "defaults" / "main.yml") or {})


@pytest.mark.parametrize("role", role_names())
def test_defaults_and_specification_name_the_same_variables(role: str) -> None:
    given, specified = defaults(role), options(role)
    assert given.keys() - specified.keys() == set(), "defaults without a specification"
    without_default = specified.keys() - given.keys()
    shown = set(COMMENTED.findall((ROLES / role / "defaults" / "main.yml").read_text()))
    assert without_default <= shown, "no default, and no comment in defaults that shows the variable"


@pytest.mark.parametrize("role", role_names())
def test_plain_defaults_equal_those_of_the_specification(role: str) -> None:
    given = defaults(role)
    for name, option in options(role).items():
        if "default" in option:
            assert option["default"] == given[name], name


@pytest.mark.parametrize("role", role_names())
def test_variables_bear_the_name_of_their_role(role: str) -> None:
    """A variable of another role's name would be changed by accident."""
    fixed = load(ROLES / role / "vars" / "main.yml") or {}
    assert [name for name in defaults(role) if not name.startswith(f"{role}_")] == []
    assert [name for name in fixed if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", role_names())
def test_secret_variables_are_kept_out_of_the_output(role: str) -> None:
    """Ansible prints the arguments that fail their specification unless they say no_log."""
    wanted = re.compile(r"password$|secrets?$|access_key$|keyfile$|secret_environment$")
    shown = [
        name
        for name, option in options(role).items()
        if wanted.search(name) and not option.get("no_log") and option.get("type") != "bool"
    ]
    assert shown == []


@pytest.mark.parametrize("role", role_names())
def test_main_tasks_are_phases_only(role: str) -> None:
    """The first file that one opens fits on a screen."""
    tasks = load(ROLES / role / "tasks" / "main.yml")
    modules = {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks", "ansible.builtin.meta"}
    assert [task["name"] for task in tasks if not modules & task.keys()] == []
    assert all(role in task.get("tags", []) for task in tasks), "each phase can be run by the role's tag"


@pytest.mark.parametrize("role", role_names())
def test_a_default_is_a_value_that_the_specification_takes(role: str) -> None:
    """An empty mapping of which a key is required would stop every playbook run."""
    for name, value in defaults(role).items():
        if name in options(role) and "{{" not in str(value):
            found = ArgumentSpecValidator({name: options(role)[name]}).validate({name: value})
            assert found.error_messages == [], name


@pytest.mark.parametrize("role", role_names())
def test_what_comes_from_the_app_file_fits_the_specification(role: str) -> None:
    """A key that the app file's model gains, and a role passes on, would stop the first playbook run."""
    specified = options(role)
    for name, text in defaults(role).items():
        if not isinstance(text, str) or "app." not in text or name not in specified:
            continue
        validator = ArgumentSpecValidator({name: specified[name]})
        found = validator.validate({name: evaluate(role, name)})
        assert found.error_messages == [], name


def test_readmes_tell_what_the_specifications_say() -> None:
    """After a change: python -m sandbox.role_docs."""
    assert [path.parent.name for path, text in role_docs.pages().items() if path.read_text() != text] == []


def test_table_of_a_readme_is_replaced_and_the_rest_stays() -> None:
    readme = "# a\n\nwords | words\n\n| variable | default |\n| --- | --- |\n| `x` | 1 |\n\nmore\n"
    rows = role_docs.table({"y": {"type": "list", "elements": "str", "default": [], "description": "A | b."}})
    assert role_docs.updated(readme, rows) == (
        "# a\n\nwords | words\n\n" + role_docs.HEADER + "| `y` | list of str | `[]` | A \\| b. |\n\nmore\n"
    )
    assert role_docs.updated("# a\n", rows).endswith("# a\n\n" + rows)


#: What goes into the secrets files, and what steward knows there. Logs have logs_ping_url for their ping.
SECTIONS = {
    ("steward", "steward_pings"): set(PingSecrets.model_fields) - {"logs"},
    ("steward", "steward_notify_secrets"): set(NotifySecrets.model_fields),
    ("logs", "logs_notify_secrets"): set(NotifySecrets.model_fields),
}


@pytest.mark.parametrize(("role", "name"), SECTIONS)
def test_a_key_that_steward_does_not_know_is_named_before_a_host_is_touched(role: str, name: str) -> None:
    """It would be refused on the host, in a task that shows no output because of the values."""
    spec = {name: options(role)[name]}
    known = dict.fromkeys(SECTIONS[role, name], "https://hidden.example/word")
    assert ArgumentSpecValidator(spec).validate({name: known}).error_messages == []
    (message,) = ArgumentSpecValidator(spec).validate({name: known | {"ful": "hidden"}}).error_messages
    assert message.startswith(f"{name}.ful. Supported parameters include: ")
    assert "hidden" not in message
    shown = [key for key, option in spec[name]["options"].items() if not option.get("no_log")]
    assert set(shown) <= {"smtp_username"}
