"""Names and ARNs that one component makes and another must know before it exists.

They are computed and not passed along as outputs where that would close a circle: a
bucket's policy names the break-glass role, whose policy names the bucket.
"""

from __future__ import annotations

#: IAM path of all that this program makes, so that one statement can cover it.
IAM_PATH = "/steward/"


def role_arn(account_id: str, name: str) -> str:
    """ARN of an IAM role of this program."""
    return f"arn:aws:iam::{account_id}:role{IAM_PATH}{name}"


def user_arn(account_id: str, name: str) -> str:
    """ARN of an IAM user of this program."""
    return f"arn:aws:iam::{account_id}:user{IAM_PATH}{name}"


def policy_arn(account_id: str, name: str) -> str:
    """ARN of a managed policy of this program."""
    return f"arn:aws:iam::{account_id}:policy{IAM_PATH}{name}"


def bucket_name(name: str, account_id: str) -> str:
    """Name of a bucket: the account's id makes it unique in the world and a mix-up of accounts visible."""
    return f"{name}-{account_id}"


def bucket_arn(bucket: str) -> str:
    """ARN of a bucket."""
    return f"arn:aws:s3:::{bucket}"


def break_glass_role(stack: str) -> str:
    """Name of the only role that may delete backups before their time."""
    return f"{stack}-break-glass"


def restore_role(stack: str) -> str:
    """Name of the role that reads backups and writes none."""
    return f"{stack}-restore"


def host_role(stack: str) -> str:
    """Name of the role of the hosts that take backups, where they have one."""
    return f"{stack}-host"


def app_host_role(stack: str) -> str:
    """Name of the role of the application hosts, where they have one."""
    return f"{stack}-app-host"


def writer_user(stack: str) -> str:
    """Name of the IAM user of the hosts that take backups, where they use an access key."""
    return f"{stack}-backups-writer"


def log_writer_user(stack: str) -> str:
    """Name of the application hosts' IAM user, where they use an access key."""
    return f"{stack}-logs-writer"


def atlas_exports(stack: str) -> str:
    """Name of what belongs to the exports of MongoDB Atlas, where there are some."""
    return f"{stack}-atlas"


def boundary_policy(stack: str) -> str:
    """Name of the managed policy that bounds the identity of the hosts that take backups."""
    return f"{stack}-boundary"


def app_boundary_policy(stack: str) -> str:
    """Name of the managed policy that bounds the application hosts' identity."""
    return f"{stack}-app-boundary"


def ci_role(stack: str, purpose: str) -> str:
    """Name of a role of CI; ``purpose`` is ``preview`` or ``deploy``."""
    return f"{stack}-ci-{purpose}"


def secret_prefix(app: str, environment: str) -> str:
    """Beginning of the names of a backend's secrets, as the inventories look them up."""
    return f"steward/{app}/{environment}/"


def replication_role(stack: str) -> str:
    """Name of the role that S3 copies backups to the second bucket with."""
    return f"{stack}-replication"


def account_of(arn: str) -> str:
    """The account's id in an ARN."""
    return arn.split(":")[4]


def host_arns(account_id: str, stack: str) -> list[str]:
    """Whoever the hosts may be: roles or users exist, by the app file's choice."""
    roles, users = (host_role(stack), app_host_role(stack)), (writer_user(stack), log_writer_user(stack))
    return [*(role_arn(account_id, role) for role in roles), *(user_arn(account_id, user) for user in users)]


def alarm_arn(account_id: str, region: str, name: str) -> str:
    """ARN of a CloudWatch alarm."""
    return f"arn:aws:cloudwatch:{region}:{account_id}:alarm:{name}"
