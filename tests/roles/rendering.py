"""Renders a role's templates as Ansible does, without a host.

Variables come as on a real run: defaults of the role, then what the scenario
sets, then the role's own ``vars``. Secrets of a scenario are made up.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from steward import appfile

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = REPOSITORY / "roles"

OUTPUTS = {
    "backup_bucket": "bitesbay-local-backups",
    "backup_bucket_arn": "arn:aws:s3:::bitesbay-local-backups",
    "backup_kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/1",
    "backup_region": "us-east-1",
    "backup_object_lock_mode": "GOVERNANCE",
    "backup_writer_user": "bitesbay-local-backup-writer",
    "log_archive_bucket": "bitesbay-local-log-archive",
    "log_archive_kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/2",
}


def role_names() -> list[str]:
    """Every role of the repository."""
    return sorted(path.name for path in ROLES.iterdir() if (path / "tasks").is_dir())


def load(path: Path) -> Any:
    """A YAML file as Ansible reads it: its texts may be templates."""
    return DataLoader().load_from_file(str(path), trusted_as_template=True) if path.exists() else {}


def app(name: str = "bitesbay", environment: appfile.Environment = "local", **changes: Any) -> dict[str, Any]:
    """The variable ``app`` as the inventory plugin makes it; ``changes`` replace whole sections."""
    file = appfile.load(REPOSITORY / "apps" / f"{name}.yml")
    made: dict[str, Any] = {
        **file.model_dump(),
        "environment": environment,
        "domain": file.domains[environment],
        "retention_days": file.backup.retention.all_keep_days(),
        "outputs": dict(OUTPUTS),
    }
    return made | changes


def variables(role: str, **scenario: Any) -> dict[str, Any]:
    """All variables of one role on the host ``db1`` (192.0.2.13)."""
    host = {
        "app": app(),
        "inventory_hostname": "db1",
        "ansible_host": "192.0.2.13",
        "ansible_managed": "Ansible managed",
        "ansible_check_mode": False,
        "role_path": str(ROLES / role),
    }
    defaults = load(ROLES / role / "defaults" / "main.yml") or {}
    fixed = load(ROLES / role / "vars" / "main.yml") or {}
    return {**defaults, **host, **copy.deepcopy(scenario), **fixed}


def evaluate(role: str, expression: str, **scenario: Any) -> Any:
    """A Jinja expression (without braces) in the role's variables."""
    templar = Templar(loader=DataLoader(), variables=variables(role, **scenario))
    return templar.template(trust_as_template("{{ " + expression + " }}"))


def render(role: str, template: str, **scenario: Any) -> str:
    """The text of ``roles/<role>/templates/<template>``."""
    text = (ROLES / role / "templates" / template).read_text(encoding="utf-8")
    # The template module adds the newline that Jinja takes off the end.
    rendered = Templar(loader=DataLoader(), variables=variables(role, **scenario)).template(
        trust_as_template(text), overrides={"keep_trailing_newline": True}
    )
    return str(rendered)
