"""``s3.Inventory``: a bucket has several of them, each with a name of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import schema
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.s3_bucket import GONE
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

MISSING = GONE | {"NoSuchConfiguration"}


class Inventory(ResourceType):
    """An inventory configuration; the id is ``<bucket>:<name>``, as the genuine provider's."""

    type_name = "aws:s3/inventory:Inventory"
    carried = frozenset(
        {"bucket", "destination", "enabled", "includedObjectVersions", "name", "optionalFields", "schedule"}
    )
    replaces = frozenset({"bucket", "name"})
    named_by = "name"

    @override
    def check(self, inputs: Properties) -> Iterator[schema.Problem]:
        """As every row, and nothing below the destination's encryption, which the log bucket decides."""
        yield from super().check(inputs)
        destination = inputs.get("destination")
        target = destination.get("bucket") if isinstance(destination, Mapping) else None
        if isinstance(target, Mapping) and target.get("encryption") is not None:
            yield schema.Problem(
                "destination.bucket.encryption", f"the stand-in does not do this argument of {self.type_name}"
            )

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        resource_id = f"{inputs['bucket']}:{inputs['name']}"
        self.update(aws, resource_id, inputs, inputs)
        return resource_id

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        bucket, _, name = resource_id.partition(":")
        target = inputs["destination"]["bucket"]
        destination = {
            "AccountId": target.get("accountId"),
            "Bucket": target["bucketArn"],
            "Format": target["format"],
            "Prefix": target.get("prefix"),
        }
        configuration: dict[str, Any] = {
            "Destination": {"S3BucketDestination": {k: v for k, v in destination.items() if v is not None}},
            "IsEnabled": inputs.get("enabled") is not False,
            "Id": name,
            "IncludedObjectVersions": inputs["includedObjectVersions"],
            "Schedule": {"Frequency": inputs["schedule"]["frequency"]},
        }
        if inputs.get("optionalFields"):
            configuration["OptionalFields"] = inputs["optionalFields"]
        aws.client("s3", self.region(aws, state)).put_bucket_inventory_configuration(
            Bucket=bucket, Id=name, InventoryConfiguration=configuration
        )

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        bucket, _, name = resource_id.partition(":")
        region = self.region(aws, known)
        try:
            answer = aws.client("s3", region).get_bucket_inventory_configuration(Bucket=bucket, Id=name)
        except ClientError as error:
            if code(error) in MISSING:
                return None
            raise
        found = answer["InventoryConfiguration"]
        target = found["Destination"]["S3BucketDestination"]
        return {
            "bucket": bucket,
            "name": name,
            "destination": {
                "bucket": {
                    "accountId": target.get("AccountId"),
                    "bucketArn": target["Bucket"],
                    "format": target["Format"],
                    "prefix": target.get("Prefix"),
                }
            },
            "enabled": found["IsEnabled"],
            "includedObjectVersions": found["IncludedObjectVersions"],
            # S3 keeps a set: an order of its own is no change.
            "optionalFields": sorted(found.get("OptionalFields") or []),
            "schedule": {"frequency": found["Schedule"]["Frequency"]},
            "region": region,
        }

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        bucket, _, name = resource_id.partition(":")
        try:
            aws.client("s3", self.region(aws, state)).delete_bucket_inventory_configuration(
                Bucket=bucket, Id=name
            )
        except ClientError as error:
            if code(error) not in MISSING:
                raise
