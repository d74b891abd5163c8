"""``s3.Bucket``: the bucket itself; its settings are in :mod:`sandbox.aws_plugin.s3_settings`."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import StandInError, code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

GONE = frozenset({"NoSuchBucket", "404"})


class Bucket(ResourceType):
    """A bucket, with tags and Object Lock."""

    type_name = "aws:s3/bucket:Bucket"
    carried = frozenset({"bucket", "forceDestroy", "objectLockEnabled", "tags"})
    replaces = frozenset({"bucket", "objectLockEnabled"})
    computed = frozenset({"objectLockEnabled"})
    remembered = frozenset({"forceDestroy"})
    made = frozenset({"arn", "bucketDomainName", "bucketRegionalDomainName", "tagsAll"})
    named_by = "bucket"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        region = self.region(aws, inputs)
        name = str(inputs["bucket"])
        request: dict[str, Any] = {"Bucket": name}
        if inputs.get("objectLockEnabled"):
            request["ObjectLockEnabledForBucket"] = True
        if region != "us-east-1":  # the one region that must not be named
            request["CreateBucketConfiguration"] = {"LocationConstraint": region}
        s3 = aws.client("s3", region)
        try:
            s3.head_bucket(Bucket=name)
        except ClientError as error:
            if code(error) not in GONE:
                raise
        else:  # us-east-1 answers a second creation with success, which would adopt the bucket silently
            raise StandInError(f"bucket {name} exists already; import it or choose another name")
        s3.create_bucket(**request)
        self._tag(s3, name, aws.all_tags(inputs.get("tags")))
        return name

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        s3 = aws.client("s3", region)
        try:
            s3.head_bucket(Bucket=resource_id)
        except ClientError as error:
            if code(error) in GONE:
                return None
            raise
        return {
            **self.remember(known),
            "bucket": resource_id,
            "objectLockEnabled": self._locked(s3, resource_id),
            "region": region,
            **tags.outputs(aws, self._tags(s3, resource_id)),
            "arn": f"arn:aws:s3:::{resource_id}",
            "bucketDomainName": f"{resource_id}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{resource_id}.s3.{region}.amazonaws.com",
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        self._tag(aws.client("s3", self.region(aws, state)), resource_id, aws.all_tags(inputs.get("tags")))

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        s3 = aws.client("s3", self.region(aws, state))
        try:
            if state.get("forceDestroy"):
                self._empty(s3, resource_id, bypass=bool(state.get("objectLockEnabled")))
            s3.delete_bucket(Bucket=resource_id)
        except ClientError as error:
            if code(error) == "BucketNotEmpty":
                raise StandInError(
                    f"bucket {resource_id} is not empty; empty it, or set force_destroy and run up first"
                ) from error
            if code(error) not in GONE:
                raise

    @staticmethod
    def _tags(s3: Any, name: str) -> dict[str, str]:
        try:
            answer = s3.get_bucket_tagging(Bucket=name)
        except ClientError as error:
            if code(error) == "NoSuchTagSet":
                return {}
            raise
        return tags.mapping(answer["TagSet"])

    @staticmethod
    def _tag(s3: Any, name: str, wanted: dict[str, str]) -> None:
        if wanted:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags.pairs(wanted)})
        else:
            s3.delete_bucket_tagging(Bucket=name)

    @staticmethod
    def _locked(s3: Any, name: str) -> bool:
        try:
            answer = s3.get_object_lock_configuration(Bucket=name)
        except ClientError as error:
            if code(error) == "ObjectLockConfigurationNotFoundError":
                return False
            raise
        return bool(answer["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled")

    @staticmethod
    def _empty(s3: Any, name: str, *, bypass: bool) -> None:
        """Remove every version and unfinished upload; GOVERNANCE locks are bypassed, COMPLIANCE ones hold."""
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
            for upload in page.get("Uploads", []):
                s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if not versions:
                continue
            answer = s3.delete_objects(
                Bucket=name,
                Delete={
                    "Objects": [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions],
                    "Quiet": True,
                },
                # Only on a bucket with locks: S3 refuses the header elsewhere.
                **({"BypassGovernanceRetention": True} if bypass else {}),
            )
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise StandInError(
                    f"bucket {name}: {len(answer['Errors'])} objects cannot be deleted,"
                    f" first {first['Key']}: {first['Code']}: {first.get('Message', '')}"
                )
