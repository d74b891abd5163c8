"""Settings of a bucket that are resources of their own: one row a type.

All of them work alike: put the whole setting, get it, delete it; the id is the
bucket's name, and another bucket means another resource.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.s3_bucket import GONE
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Plain, Properties

#: Names that are not the SDK's name with a capital.
_AWS_NAMES = {
    "id": "ID",
    "kmsMasterKeyId": "KMSMasterKeyID",
    "mfaDelete": "MFADelete",
    "replicaKmsKeyId": "ReplicaKmsKeyID",
    "sseAlgorithm": "SSEAlgorithm",
}
_SDK_NAMES = {aws: sdk for sdk, aws in _AWS_NAMES.items()}


def to_aws(value: Plain) -> Any:
    """The S3 API's form of an argument: names with a capital, absent values left out."""
    if isinstance(value, Mapping):
        return {
            _AWS_NAMES.get(key, key[:1].upper() + key[1:]): to_aws(item)
            for key, item in value.items()
            if item is not None
        }
    return [to_aws(item) for item in value] if isinstance(value, list) else value


def to_sdk(value: Any) -> Plain:
    """The reverse of :func:`to_aws`."""
    if isinstance(value, Mapping):
        return {_SDK_NAMES.get(key, key[:1].lower() + key[1:]): to_sdk(item) for key, item in value.items()}
    return [to_sdk(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Calls:
    """How one setting is put, read and removed."""

    put: str
    """Name of the S3 call that sets it."""
    get: str
    """Name of the S3 call that reads it."""
    request: Callable[[Properties], dict[str, Any]]
    """The put call's arguments, the bucket left out."""
    state: Callable[[Any], Properties]
    """The SDK's arguments in the get call's answer; empty when the setting is not there."""
    delete: str | None = None
    """Name of the S3 call that removes it."""
    cleared: Properties | None = None
    """Where S3 knows no removal: the put call's arguments that mean the same."""
    missing: str = ""
    """Error code of the get call when the setting is not there."""
    undeletable: str = ""
    """Error code of a removal that the bucket forbids and that the genuine provider passes over."""


class BucketSetting(ResourceType):
    """A setting of one bucket; what differs is in :class:`Calls`."""

    def __init__(
        self, type_name: str, arguments: set[str], calls: Calls, computed: set[str] | None = None
    ) -> None:
        self.type_name = type_name
        self.carried = frozenset(arguments | {"bucket"})
        self.computed = frozenset(computed or set())
        self.replaces = frozenset({"bucket"})
        self.named_by = None
        self._calls = calls

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        bucket = str(inputs["bucket"])
        self._call(aws, inputs, self._calls.put, Bucket=bucket, **self._calls.request(inputs))
        return bucket

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        self._call(aws, state, self._calls.put, Bucket=resource_id, **self._calls.request(inputs))

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        try:
            answer = self._call(aws, known, self._calls.get, Bucket=resource_id)
        except ClientError as error:
            if code(error) in GONE | {self._calls.missing}:
                return None
            raise
        state = self._calls.state(answer)
        if not state:
            return None
        return {**state, "bucket": resource_id, "region": self.region(aws, known)}

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        calls = self._calls
        try:
            if calls.delete:
                self._call(aws, state, calls.delete, Bucket=resource_id)
            else:
                self._call(aws, state, calls.put, Bucket=resource_id, **(calls.cleared or {}))
        except ClientError as error:
            if code(error) not in GONE | {calls.missing, calls.undeletable}:
                raise

    def _call(self, aws: Aws, values: Properties, name: str, **arguments: Any) -> Any:
        return getattr(aws.client("s3", self.region(aws, values)), name)(**arguments)


SMALLEST_MOVED = "transitionDefaultMinimumObjectSize"
PUBLIC_ACCESS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

SETTINGS = (
    BucketSetting(
        "aws:s3/bucketVersioning:BucketVersioning",
        {"versioningConfiguration"},
        Calls(
            put="put_bucket_versioning",
            get="get_bucket_versioning",
            request=lambda i: {"VersioningConfiguration": to_aws(i["versioningConfiguration"])},
            state=lambda a: (
                {"versioningConfiguration": to_sdk({k: a[k] for k in ("Status", "MFADelete") if k in a})}
                if "Status" in a
                else {}
            ),
            cleared={"VersioningConfiguration": {"Status": "Suspended"}},
            undeletable="InvalidBucketState",  # a bucket with Object Lock keeps its versions
        ),
    ),
    BucketSetting(
        "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
        {"objectLockEnabled", "rule"},
        Calls(
            put="put_object_lock_configuration",
            get="get_object_lock_configuration",
            request=lambda i: {
                "ObjectLockConfiguration": {
                    "ObjectLockEnabled": i.get("objectLockEnabled") or "Enabled",
                    **to_aws({"rule": i.get("rule")}),
                }
            },
            state=lambda a: to_sdk(a["ObjectLockConfiguration"]),
            cleared={"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
            missing="ObjectLockConfigurationNotFoundError",
        ),
        computed={"objectLockEnabled"},
    ),
    BucketSetting(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        {"rules", SMALLEST_MOVED},
        Calls(
            put="put_bucket_lifecycle_configuration",
            get="get_bucket_lifecycle_configuration",
            delete="delete_bucket_lifecycle",
            request=lambda i: {
                "LifecycleConfiguration": {"Rules": to_aws(i.get("rules") or [])},
                **to_aws({SMALLEST_MOVED: i.get(SMALLEST_MOVED)}),
            },
            state=lambda a: {
                "rules": to_sdk(a["Rules"]),
                SMALLEST_MOVED: a["TransitionDefaultMinimumObjectSize"],
            },
            missing="NoSuchLifecycleConfiguration",
        ),
        computed={SMALLEST_MOVED},
    ),
    BucketSetting(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        {"rules"},
        Calls(
            put="put_bucket_encryption",
            get="get_bucket_encryption",
            delete="delete_bucket_encryption",
            request=lambda i: {"ServerSideEncryptionConfiguration": {"Rules": to_aws(i["rules"])}},
            state=lambda a: {"rules": to_sdk(a["ServerSideEncryptionConfiguration"]["Rules"])},
            missing="ServerSideEncryptionConfigurationNotFoundError",
        ),
    ),
    BucketSetting(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        set(PUBLIC_ACCESS),
        Calls(
            put="put_public_access_block",
            get="get_public_access_block",
            delete="delete_public_access_block",
            request=lambda i: {
                "PublicAccessBlockConfiguration": to_aws({n: bool(i.get(n)) for n in PUBLIC_ACCESS})
            },
            state=lambda a: to_sdk(a["PublicAccessBlockConfiguration"]),
            missing="NoSuchPublicAccessBlockConfiguration",
        ),
    ),
    BucketSetting(
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        {"rule"},
        Calls(
            put="put_bucket_ownership_controls",
            get="get_bucket_ownership_controls",
            delete="delete_bucket_ownership_controls",
            request=lambda i: {"OwnershipControls": {"Rules": [to_aws(i["rule"])]}},
            state=lambda a: {"rule": to_sdk(a["OwnershipControls"]["Rules"][0])},
            missing="OwnershipControlsNotFoundError",
        ),
    ),
    BucketSetting(
        "aws:s3/bucketPolicy:BucketPolicy",
        {"policy"},
        Calls(
            put="put_bucket_policy",
            get="get_bucket_policy",
            delete="delete_bucket_policy",
            request=lambda i: {"Policy": i["policy"]},
            state=lambda a: {"policy": a["Policy"]},
            missing="NoSuchBucketPolicy",
        ),
    ),
    BucketSetting(
        "aws:s3/bucketLogging:BucketLogging",
        {"targetBucket", "targetObjectKeyFormat", "targetPrefix"},
        Calls(
            put="put_bucket_logging",
            get="get_bucket_logging",
            request=lambda i: {
                "BucketLoggingStatus": {
                    "LoggingEnabled": to_aws(
                        {n: i.get(n) for n in ("targetBucket", "targetObjectKeyFormat", "targetPrefix")}
                    )
                }
            },
            state=lambda a: to_sdk(a.get("LoggingEnabled") or {}),
            cleared={"BucketLoggingStatus": {}},
        ),
    ),
    BucketSetting(
        "aws:s3/bucketNotification:BucketNotification",
        {"eventbridge"},
        Calls(
            put="put_bucket_notification_configuration",
            get="get_bucket_notification_configuration",
            request=lambda i: {
                "NotificationConfiguration": {"EventBridgeConfiguration": {}} if i.get("eventbridge") else {}
            },
            state=lambda a: {"eventbridge": True} if "EventBridgeConfiguration" in a else {},
            cleared={"NotificationConfiguration": {}},
        ),
    ),
)
