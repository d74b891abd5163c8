"""The values of a local application's secrets: made once, kept in Secrets Manager.

Stands for what an engineer does once on AWS: put the values that only they
know into the secrets that Pulumi made empty. All are random here. The hosts' access key is made
here and not by Pulumi, so that it is in no state file.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENVIRONMENT = "local"
#: The application whose jobs know a login for mail; the other has left the secrets empty that may be.
NOTIFIED = "kampyn"


def _password() -> str:
    return secrets.token_urlsafe(24)


def _values() -> dict[str, Callable[[], dict[str, str]]]:
    """Secret name -> maker of its value; access keys are made by IAM."""
    return {
        "mongodb": lambda: {
            "app_username": "app",
            "app_password": _password(),
            "backup_username": "backup",
            "backup_password": _password(),
        },
        "redis": lambda: {"password": _password()},
        "jwt": lambda: {"secret": _password() + _password()},
        "razorpay": lambda: {
            "key_id": f"rzp_test_{secrets.token_hex(7)}",
            "key_secret": _password(),
            "webhook_secret": _password(),
        },
        "smtp": lambda: {"username": "mailer", "password": _password()},
    }


def client(service: str, environment: Mapping[str, str]) -> Any:
    """A boto3 client for the sandbox's endpoint with bounded waits."""
    make: Any = boto3.client  # its overloads want a literal name
    return make(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        verify=environment["AWS_CA_BUNDLE"],
        config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"}),
    )


def secret_id(app: str, name: str) -> str:
    """The id of a secret, as inventories look it up."""
    return f"steward/{app}/{ENVIRONMENT}/{name}"


def read(manager: Any, app: str, name: str) -> dict[str, str] | None:
    """The value of a secret, or ``None`` when there is none."""
    try:
        answer = manager.get_secret_value(SecretId=secret_id(app, name))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    value: dict[str, str] = json.loads(answer["SecretString"])
    return value


def _put(manager: Any, app: str, name: str, value: Mapping[str, str]) -> None:
    manager.put_secret_value(SecretId=secret_id(app, name), SecretString=json.dumps(dict(value)))


def _host_key(iam: Any, user: str) -> dict[str, str]:
    """A fresh access key of the hosts' user; keys whose secret nobody has are removed."""
    for old in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user, AccessKeyId=old["AccessKeyId"])
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}


def key_users(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Name of a secret with an access key -> whose key it is, from a stack's outputs."""
    return {"aws-host-key": outputs["backup_writer_user"], "aws-log-key": outputs["log_writer_user"]}


def seed(app: str, users: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Make the values of an application's secrets that have none yet, and return all of them.

    Args:
        app: the application.
        users: name of a secret with an access key -> whose key it is.
        environment: of the sandbox's tools.

    A restarted endpoint has forgotten its secrets: Pulumi makes them again, new values are put,
    and the playbook that runs next brings them to the hosts, as in a rotation.

    Raises:
        botocore.exceptions.ClientError: ``ResourceNotFoundException`` when the stack was not built.
    """
    manager, iam = client("secretsmanager", environment), client("iam", environment)
    values: dict[str, dict[str, str]] = {}
    wanted = _values()
    if app == NOTIFIED:
        wanted["notify"] = lambda: {f"smtp_{key}": value for key, value in values["smtp"].items()}
    for name, make in wanted.items():
        found = read(manager, app, name)
        if found is None:
            found = make()
            _put(manager, app, name, found)
        values[name] = found
    for name, user in users.items():
        key = read(manager, app, name)
        known = {k["AccessKeyId"] for k in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]}
        if key is None or key["access_key_id"] not in known:
            key = _host_key(iam, user)
            _put(manager, app, name, key)
        values[name] = key
    return values
