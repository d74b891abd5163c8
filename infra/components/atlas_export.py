"""Where MongoDB Atlas puts its monthly exports, so that they outlive the Atlas account.

A bucket of its own and not the store: what Atlas writes has no manifest, its own folders
(``exported_snapshots/``) and another format (extended JSON), so no command of steward could
tell it from remains; and a stranger's right to write ends at this bucket. It is kept as
long as a monthly backup. Atlas can write to a bucket with Object Lock (Atlas
documentation, "Export Cloud Backup Snapshots"), so exports are locked from their first byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_mongodbatlas as mongodbatlas

from infra import names
from infra.components.secure_bucket import DefaultLock, SecureBucket, SecureBucketArgs, deleter_arns
from infra.config import StackConfig
from infra.documents import atlas
from infra.lifecycle import default_lock_days, export_rules


@dataclass(frozen=True)
class AtlasExportArgs:
    """What the exports depend on."""

    stack: StackConfig
    account_id: str
    caller_arn: str
    """Who runs the program; see :func:`infra.components.secure_bucket.deleter_arns`."""
    log_bucket: SecureBucket
    project_id: str
    """The project in Atlas."""


class AtlasExport(SecureBucket):
    """Bucket, key and role, and Atlas' knowledge of them; see the module."""

    export_bucket_id: pulumi.Output[str]

    def __init__(self, name: str, args: AtlasExportArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:AtlasExport", name, opts)
        stack, retention = args.stack, args.stack.app.backup.retention
        bucket = names.bucket_name(name, args.account_id)
        arn = names.bucket_arn(bucket)
        key = self._own_key(
            stack, args.account_id, f"Atlas exports of {stack.app.title}, {stack.environment}"
        )
        self._build(
            SecureBucketArgs(
                stack=stack,
                bucket=bucket,
                rules=export_rules(retention),
                policy=atlas.bucket_policy(
                    bucket_arn=arn,
                    deleter_arns=deleter_arns(stack, args.account_id, args.caller_arn),
                    host_arns=names.host_arns(args.account_id, stack.name),
                ),
                kms_key_arn=key.arn,
                lock=DefaultLock(stack.settings.object_lock_mode, default_lock_days(retention)),
                log_bucket=args.log_bucket,
            )
        )
        granted = self._grant(args, key)
        # Atlas tries to write when it is told of the bucket.
        exports = mongodbatlas.CloudBackupSnapshotExportBucket(
            f"{name}-target",
            project_id=args.project_id,
            cloud_provider="AWS",
            bucket_name=self.bucket,
            iam_role_id=granted.role_id,
            opts=self._child(self.closed, granted),
        )
        self.export_bucket_id = exports.export_bucket_id
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})

    def _grant(
        self, args: AtlasExportArgs, key: aws.kms.Key
    ) -> mongodbatlas.CloudProviderAccessAuthorization:
        """The role that Atlas takes: Atlas says who it is, the role lets it in, Atlas learns of the role."""
        stack = args.stack
        setup = mongodbatlas.CloudProviderAccessSetup(
            f"{self._name}-access", project_id=args.project_id, provider_name="AWS", opts=self._child()
        )
        trusted = setup.aws_configs.apply(
            lambda found: atlas.trust(
                atlas_arn=found[0].atlas_aws_account_arn or "",
                external_id=found[0].atlas_assumed_role_external_id or "",
            )
        )
        role, policy = self._iam_role(
            stack,
            "role",
            name=self._name,
            description=f"Atlas exports snapshots of {stack.app.title}, {stack.environment}, with it",
            trust=trusted,
            policy_name="write-exports",
            policy=pulumi.Output.all(self.arn, key.arn).apply(
                lambda arns: atlas.role_policy(bucket_arn=arns[0], kms_key_arn=arns[1], region=stack.region)
            ),
        )
        return mongodbatlas.CloudProviderAccessAuthorization(
            f"{self._name}-access-granted",
            project_id=args.project_id,
            role_id=setup.role_id,
            aws={"iam_assumed_role_arn": role.arn},
            opts=self._child(policy),
        )
