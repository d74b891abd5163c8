"""What log bucket and archive register. A recording monitor instead of an engine."""

from __future__ import annotations

import json

import pytest

from infra.components.log_archive import LogArchive, LogArchiveArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.config import StackConfig
from sandbox.aws_plugin import schema
from steward.appfile import ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, CALLER, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]


def register(stack: StackConfig) -> dict[str, Registered]:
    """Both components, ``l-`` and ``a-``."""

    def make() -> None:
        logs = LogBucket("l", LogBucketArgs(stack, ACCOUNT, CALLER, (f"s-{ACCOUNT}", f"a-{ACCOUNT}")))
        LogArchive("a", LogArchiveArgs(stack, ACCOUNT, CALLER, logs))

    return {r.name: r for r in record(stack, make)}


@pytest.mark.parametrize("app", APP_NAMES)
def test_logs_go_to_cold_storage_for_as_long_as_the_app_file_says(app: str) -> None:
    stack = stack_config(app)
    archive = stack.app.logs.archive
    lifecycle = register(stack)["a-lifecycle"].inputs
    rules = {rule["id"]: rule for rule in lifecycle["rules"]}
    assert rules["archive"] == {
        "id": "archive",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "transitions": [{"days": 0, "storageClass": archive.storage_class}],
        "expiration": {"days": archive.keep_days},
        "noncurrentVersionExpiration": {"noncurrentDays": 1},
    }
    assert lifecycle["transitionDefaultMinimumObjectSize"] == "varies_by_storage_class", "small objects too"
    assert set(rules) == {"archive", "remove-delete-markers", "abort-unfinished-uploads"}


@pytest.mark.parametrize("app", APP_NAMES)
def test_s3s_own_logs_are_kept_as_the_app_file_says(app: str) -> None:
    stack = stack_config(app)
    rules = register(stack)["l-lifecycle"].inputs["rules"]
    days = {
        r["filter"]["prefix"]: r["expiration"]["days"] for r in rules if "days" in r.get("expiration", {})
    }
    assert days == {"access/": stack.app.logs.archive.keep_days, "inventory/": stack.app.logs.keep_days}
    assert {r["id"] for r in rules} >= {"remove-delete-markers", "abort-unfinished-uploads"}


def test_s3_can_deliver_into_the_log_bucket() -> None:
    resources = register(stack_config())
    (rule,) = resources["l-encryption"].inputs["rules"]
    default = rule["applyServerSideEncryptionByDefault"]
    assert (default["sseAlgorithm"], default.get("kmsMasterKeyId")) == ("AES256", None), "KMS loses the logs"
    assert "l-lock" not in resources, "a default lock loses the logs"
    assert "l-logging" not in resources, "a log of the deliveries would feed itself"
    statements = {s["Sid"]: s for s in json.loads(resources["l-policy"].inputs["policy"])["Statement"]}
    for sid in ("DeliverAccessLogs", "DeliverInventories"):
        assert statements[sid]["Condition"]["ArnLike"]["aws:SourceArn"] == [
            f"arn:aws:s3:::a-{ACCOUNT}",
            f"arn:aws:s3:::s-{ACCOUNT}",
        ]


def test_the_archive_has_a_key_of_its_own_and_logs_its_access() -> None:
    resources = register(stack_config())
    (rule,) = resources["a-encryption"].inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"].startswith("arn:aws:kms:")
    assert rule["bucketKeyEnabled"] is True
    logging = resources["a-logging"]
    assert logging.inputs == {
        "bucket": f"a-{ACCOUNT}",
        "targetBucket": f"l-{ACCOUNT}",
        "targetPrefix": "access/",
        "targetObjectKeyFormat": {"partitionedPrefix": {"partitionDateSource": "EventTime"}},
    }
    assert {"a-ownership", "l-policy"} <= logging.dependencies, "S3 checks the target's policy at once"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_only_a_disposable_stack_can_lose_logs(environment: Environment) -> None:
    resources = register(stack_config(environment=environment))
    assert {n for n, r in resources.items() if r.protect} == (
        {"l-bucket", "a-bucket", "a-key"} if environment == "production" else set()
    )
    for name in ("l-bucket", "a-bucket"):
        assert resources[name].inputs["forceDestroy"] is (environment == "local")
    for name in ("l-policy", "a-policy"):
        statements = json.loads(resources[name].inputs["policy"])["Statement"]
        (deletes,) = [s for s in statements if s["Sid"] == "OnlyBreakGlassDeletes"]
        exempt = deletes["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
        assert (CALLER in exempt) is (environment == "local")
        assert f"arn:aws:iam::{ACCOUNT}:role/steward/bitesbay-{environment}-break-glass" in exempt


def test_the_sdk_knows_every_argument() -> None:
    for resource in register(stack_config(environment="production")).values():
        if resource.type.startswith("aws:"):
            arguments = schema.arguments_class(resource.type)
            assert not list(schema.check(arguments, resource.inputs)), resource.name
