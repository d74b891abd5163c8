"""What one stack consists of, and what it tells the hosts."""

from __future__ import annotations

import pulumi

from infra import names
from infra.components.backup_bucket import BackupBucket, BackupBucketArgs
from infra.components.host_identity import HostIdentity, HostIdentityArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.people_roles import PeopleRoles, PeopleRolesArgs
from infra.components.secrets import Secrets, SecretsArgs
from infra.config import StackConfig

#: Name -> value; what the choices of a stack do not make has no output.
Outputs = dict[str, pulumi.Input[object]]


def build(stack: StackConfig, account_id: str, caller_arn: str) -> Outputs:
    """Register every resource of a stack; returns the stack's outputs.

    Args:
        stack: what the stack is about.
        account_id: the AWS account it is built in.
        caller_arn: who builds it.
    """
    backups = f"{stack.name}-backups"
    logged = tuple(names.bucket_name(name, account_id) for name in (backups,))
    logs = LogBucket(f"{stack.name}-logs", LogBucketArgs(stack, account_id, caller_arn, logged))
    store = BackupBucket(backups, BackupBucketArgs(stack, account_id, caller_arn, logs))
    hosts = HostIdentity(f"{stack.name}-host", HostIdentityArgs(stack, account_id, store))
    roles = PeopleRoles(f"{stack.name}-roles", PeopleRolesArgs(stack, account_id, store))
    secrets = Secrets(f"{stack.name}-secrets", SecretsArgs(stack, account_id))
    outputs: dict[str, pulumi.Input[object] | None] = {
        "backup_bucket": store.bucket,
        "backup_bucket_arn": store.arn,
        "backup_kms_key_arn": store.kms_key_arn,
        "backup_region": stack.region,
        "backup_object_lock_mode": stack.settings.object_lock_mode,
        "backup_writer_user": hosts.user,
        "host_role_arn": hosts.role_arn,
        "host_instance_profile": hosts.instance_profile,
        "trust_anchor_arn": hosts.trust_anchor_arn,
        "roles_anywhere_profile_arn": hosts.roles_anywhere_profile_arn,
        "secrets_kms_key_arn": secrets.kms_key_arn,
        "restore_role_arn": roles.restore_arn,
        "break_glass_role_arn": roles.break_glass_arn,
        "ci_preview_role_arn": roles.ci_preview_arn,
        "ci_deploy_role_arn": roles.ci_deploy_arn,
        "log_bucket": logs.bucket,
    }
    return {name: value for name, value in outputs.items() if value is not None}
