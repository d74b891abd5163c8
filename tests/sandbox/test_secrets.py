"""The values that the sandbox puts into the secrets that Pulumi made."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from infra.components.secrets import HOST_KEYS, SECRETS
from sandbox import secrets
from steward.operations.settings import NotifySecrets
from tests.support.aws import REGION, AwsEndpoint, error_code

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")


def tools_environment(aws_endpoint: AwsEndpoint) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": aws_endpoint.https_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": aws_endpoint.admin_access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws_endpoint.admin_secret_access_key,
        "AWS_CA_BUNDLE": str(aws_endpoint.bundle_file),
    }


def test_values_are_put_once_and_a_lost_access_key_is_replaced(aws_endpoint: AwsEndpoint) -> None:
    user = aws_endpoint.new_user()
    app = user.name
    users = secrets.key_users(
        {"backup_writer_user": user.name, "log_writer_user": aws_endpoint.new_user().name}
    )
    environment = tools_environment(aws_endpoint)
    with pytest.raises(ClientError) as caught:
        secrets.seed(app, users, environment)
    assert error_code(caught) == "ResourceNotFoundException"

    manager, iam = aws_endpoint.client("secretsmanager"), aws_endpoint.client("iam")
    places = {*SECRETS, *HOST_KEYS} - {"notify", "pings"}
    for name in places:
        manager.create_secret(Name=secrets.secret_id(app, name))
    first = secrets.seed(app, users, environment)
    assert set(first) == places, "every place that a stack makes gets a value, but those that may stay empty"
    assert secrets.seed(app, users, environment) == first
    key = first["aws-host-key"]
    host = aws_endpoint.client("sts", key["access_key_id"], key["secret_access_key"])
    assert host.get_caller_identity()["Arn"] == user.arn

    iam.delete_access_key(UserName=user.name, AccessKeyId=key["access_key_id"])
    second = secrets.seed(app, users, environment)
    assert second["aws-host-key"] != key
    assert {**second, "aws-host-key": key} == first
    assert len(iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]) == 1


def test_the_jobs_of_one_application_get_its_login_for_mail(
    aws_endpoint: AwsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = aws_endpoint.new_user().name  # the stacks of other tests have secrets at the same endpoint
    monkeypatch.setattr(secrets, "NOTIFIED", app)
    manager = aws_endpoint.client("secretsmanager")
    for name in SECRETS:
        manager.create_secret(Name=secrets.secret_id(app, name))
    values = secrets.seed(app, {}, tools_environment(aws_endpoint))
    assert set(values) == {*SECRETS} - {"pings"}
    smtp = values["smtp"]
    found = NotifySecrets.model_validate(secrets.read(manager, app, "notify"))
    assert (found.smtp_username, found.smtp_password) == (smtp["username"], SecretStr(smtp["password"]))
