"""What copies the store to the second bucket: S3's own replication, within 15 minutes or with an event.

A component of its own, because it belongs to the account of the store while the copy may lie in another.

Only what is written after it exists is copied. A store that is older than its second copy
is brought over once by S3 Batch Replication; ``existingObjectReplication`` is not S3's own
way for that (Amazon S3 user guide, "Replicating existing objects").
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.backup_bucket import BackupBucket
from infra.components.component import Component
from infra.components.offsite_replica import OffsiteReplica
from infra.config import StackConfig
from infra.documents import replication

#: Minutes within which S3 copies with Replication Time Control, and the only threshold of its
#: events (Amazon S3 API reference, ReplicationTimeValue).
REPLICATION_MINUTES = 15

#: Id of the only rule; its metrics carry it.
RULE_ID = "copy-everything"


@dataclass(frozen=True)
class ReplicationArgs:
    """What the replication depends on."""

    stack: StackConfig
    account_id: str
    """The account of the source."""
    source: BackupBucket
    replica: OffsiteReplica


class Replication(Component):
    """The role and the rule; see the module."""

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: ReplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:Replication", name, opts)
        role, policy = self._role(args)
        aws.s3.BucketReplicationConfig(
            f"{name}-rules",
            bucket=args.source.bucket,
            role=role.arn,
            rules=[
                {
                    "id": RULE_ID,
                    "status": "Enabled",
                    "priority": 1,
                    "filter": {"prefix": ""},
                    # A deletion in the store must not reach the copy, or there is no second copy.
                    # What expires does so in both by their own lifecycle.
                    "delete_marker_replication": {"status": "Disabled"},
                    # Without it S3 passes over objects that are encrypted with a KMS key.
                    "source_selection_criteria": {"sse_kms_encrypted_objects": {"status": "Enabled"}},
                    "destination": {
                        "bucket": args.replica.arn,
                        "encryption_configuration": {"replica_kms_key_id": args.replica.kms_key_arn},
                        "replication_time": {"status": "Enabled", "time": {"minutes": REPLICATION_MINUTES}},
                        "metrics": {
                            "status": "Enabled",
                            "event_threshold": {"minutes": REPLICATION_MINUTES},
                        },
                    },
                }
            ],
            # S3 refuses the rule while one of the two buckets has no versions; with an incomplete
            # role or policy it would take the rule and fail at each object.
            opts=self._child(
                policy,
                args.source.versioning,
                args.source.closed,
                args.replica.versioning,
                args.replica.closed,
            ),
        )
        self.role_arn = role.arn
        self.register_outputs({"roleArn": self.role_arn})

    def _role(self, args: ReplicationArgs) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        stack = args.stack
        trust = args.source.arn.apply(
            lambda arn: replication.trust(account_id=args.account_id, source_bucket_arn=arn)
        )
        policy = pulumi.Output.all(
            args.source.arn, args.source.kms_key_arn, args.replica.arn, args.replica.kms_key_arn
        ).apply(
            lambda arns: replication.role_policy(
                source=replication.Place(arns[0], arns[1], stack.region),
                replica=replication.Place(arns[2], arns[3], args.replica.region),
            )
        )
        return self._iam_role(
            stack,
            "role",
            name=names.replication_role(stack.name),
            description=f"S3 copies the backups of {stack.app.title}, {stack.environment}, with it",
            trust=trust,
            policy_name="copy-backups",
            policy=policy,
        )
