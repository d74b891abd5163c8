"""The second copy of the backups at Google Cloud Storage, for teams that want another company to have it.

Storage Transfer Service copies new objects every hour, with nothing to run and no key of
AWS at Google: it takes a role here by the identity of the project's service agent. It
never overwrites and has no right to delete. The order of copying is not that of writing, so a
manifest may be there before its data; a restore checks every object before its first write.
Backups that are older than the copy by days are not brought over, as with S3's replication.

What fails, an object or the look at the store, is an entry in Cloud Logging (``storage_transfer_job``) and a
message to the critical contacts. A transfer that does not begin at all writes no entry, so nobody is told.

To be enabled in the project before: the APIs ``cloudkms``, ``monitoring``, ``storage`` and
``storagetransfer``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_gcp import kms, monitoring, storage

from infra import gcs_lifecycle, names
from infra.components.backup_bucket import BackupBucket
from infra.components.component import KEY_DELETION_DAYS, Component
from infra.config import StackConfig
from infra.documents import gcs
from infra.lifecycle import default_lock_days, kept_days
from infra.watch import RUNBOOK

#: Time between two transfers; the least there is (Storage Transfer Service REST reference, Schedule).
TRANSFER_SECONDS = 3600

#: Days until a new version of the key encrypts (Cloud KMS documentation, "Key rotation", recommends it).
ROTATION_DAYS = 90

#: An object that fails is tried again with each transfer; people are told of it once in so many seconds.
TELL_AGAIN_SECONDS = 86_400

#: What the transfer needs at its destination. ``legacyBucketReader`` has ``buckets.get``; none of
#: them has ``objects.delete``, which only overwriting and deleting transfers need (Storage Transfer
#: Service documentation, "Agentless transfer permissions").
SINK_ROLES = ("legacyBucketReader", "objectCreator", "objectViewer")


@dataclass(frozen=True)
class GcsCopyArgs:
    """What the copy depends on."""

    stack: StackConfig
    source: BackupBucket
    account_id: str
    """The AWS account of the source."""
    project: str
    location: str
    """``EU``, ``europe-west3``, ..."""


class GcsCopy(Component):
    """Bucket, key and transfer; see the module."""

    bucket: pulumi.Output[str]

    def __init__(self, name: str, args: GcsCopyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:GcsCopy", name, opts)
        invoked = pulumi.InvokeOutputOptions(parent=self)
        agent = storage.get_transfer_project_service_account_output(project=args.project, opts=invoked)
        key, usable = self._key(args)
        bucket = self._bucket(args, key, usable)
        may_write = [
            storage.BucketIAMMember(
                f"{name}-transfer-{role}",
                bucket=bucket.name,
                role=f"roles/storage.{role}",
                member=agent.member,
                opts=self._child(),
            )
            for role in SINK_ROLES
        ]
        role, may_read = self._reader(args, agent.subject_id)
        transfer = self._transfer(args, bucket, role, [may_read, *may_write])
        self._alarm(args, transfer)
        self.bucket = bucket.name
        self.register_outputs({"bucket": self.bucket})

    def _key(self, args: GcsCopyArgs) -> tuple[kms.CryptoKey, kms.CryptoKeyIAMMember]:
        """The bucket's key, and the storage service's right to use it."""
        stack = args.stack
        ring = kms.KeyRing(
            f"{self._name}-key-ring",
            name=self._name,
            location=gcs_lifecycle.key_location(args.location),
            project=args.project,
            opts=self._child(),
        )
        key = kms.CryptoKey(
            f"{self._name}-key",
            name="backups",
            key_ring=ring.id,
            rotation_period=_seconds(ROTATION_DAYS),
            destroy_scheduled_duration=_seconds(KEY_DELETION_DAYS),
            labels=_labels(stack),
            opts=self._child(protect=stack.protected),
        )
        agent = storage.get_project_service_account_output(
            project=args.project, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        usable = kms.CryptoKeyIAMMember(
            f"{self._name}-key-user",
            crypto_key_id=key.id,
            role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
            member=agent.member,
            opts=self._child(),
        )
        return key, usable

    def _bucket(
        self, args: GcsCopyArgs, key: kms.CryptoKey, usable: kms.CryptoKeyIAMMember
    ) -> storage.Bucket:
        stack, retention = args.stack, args.stack.app.backup.retention
        return storage.Bucket(
            f"{self._name}-bucket",
            # The AWS account's id makes it unique in the world and tells whose copy it is.
            name=names.bucket_name(self._name, args.account_id),
            location=args.location,
            project=args.project,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            encryption={"default_kms_key_name": key.id},
            retention_policy={
                "retention_period": str(default_lock_days(retention) * gcs_lifecycle.SECONDS_A_DAY),
                # Cannot be taken back, as COMPLIANCE cannot.
                "is_locked": stack.settings.object_lock_mode == "COMPLIANCE",
            },
            soft_delete_policy={
                "retention_duration_seconds": gcs_lifecycle.SOFT_DELETE_DAYS * gcs_lifecycle.SECONDS_A_DAY
            },
            lifecycle_rules=gcs_lifecycle.lifecycle_rules(retention),
            force_destroy=stack.disposable,
            labels=_labels(stack),
            opts=self._child(usable, protect=stack.protected),
        )

    def _reader(
        self, args: GcsCopyArgs, subject_id: pulumi.Output[str]
    ) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        """The role in AWS that the transfer takes."""
        stack = args.stack
        policy = pulumi.Output.all(args.source.arn, args.source.kms_key_arn).apply(
            lambda arns: gcs.role_policy(
                bucket_arn=arns[0],
                kms_key_arn=arns[1],
                region=stack.region,
                prefixes=list(kept_days(stack.app.backup.retention)),
            )
        )
        return self._iam_role(
            stack,
            "role",
            name=self._name,
            description=f"Google copies the backups of {stack.app.title}, {stack.environment}, with it",
            trust=subject_id.apply(lambda subject: gcs.trust(subject_id=subject)),
            policy_name="read-backups",
            policy=policy,
        )

    def _transfer(
        self, args: GcsCopyArgs, bucket: storage.Bucket, role: aws.iam.Role, after: list[pulumi.Resource]
    ) -> storage.TransferJob:
        """The hourly copying."""
        stack = args.stack
        retention = stack.app.backup.retention
        window = gcs_lifecycle.copied_for_seconds(retention)
        return storage.TransferJob(
            f"{self._name}-transfer",
            description=f"Backups of {stack.app.title}, {stack.environment}, from Amazon S3",
            project=args.project,
            transfer_spec={
                "aws_s3_data_source": {"bucket_name": args.source.bucket, "role_arn": role.arn},
                "gcs_data_sink": {"bucket_name": bucket.name},
                "object_conditions": {
                    "include_prefixes": list(kept_days(retention)),
                    "max_time_elapsed_since_last_modification": f"{window}s",
                },
                "transfer_options": {
                    # What is deleted or replaced in the store stays as it is in the copy.
                    "delete_objects_unique_in_sink": False,
                    "delete_objects_from_source_after_transfer": False,
                    "overwrite_when": "NEVER",
                },
            },
            schedule={
                # A day of the past means "from tomorrow on", and does not change with each preview.
                "schedule_start_date": {"year": 2025, "month": 1, "day": 1},
                "repeat_interval": f"{TRANSFER_SECONDS}s",
            },
            logging_config={"log_actions": ["COPY", "FIND"], "log_action_states": ["FAILED"]},
            opts=self._child(args.source.closed, *after),
        )

    def _alarm(self, args: GcsCopyArgs, transfer: storage.TransferJob) -> None:
        """A message of Google's when something of this transfer failed.

        Fields of the entries: Storage Transfer Service documentation, "Transfer log format". That a
        condition on entries needs a rate limit: Cloud Monitoring API reference, ``AlertPolicy``.
        """
        stack = args.stack
        channels = [self._channel(args, contact) for contact in dict.fromkeys(stack.app.contacts.critical)]
        failed = transfer.name.apply(
            lambda job: (
                f'resource.type="storage_transfer_job" AND resource.labels.job_id="{job}"'
                ' AND jsonPayload.status.statusCode!="OK"'
            )
        )
        monitoring.AlertPolicy(
            f"{self._name}-failed",
            display_name=f"{stack.name}-gcs-copy-failed",
            project=args.project,
            combiner="OR",
            severity="CRITICAL",
            conditions=[{"display_name": "a transfer failed", "condition_matched_log": {"filter": failed}}],
            alert_strategy={
                "notification_rate_limit": {"period": f"{TELL_AGAIN_SECONDS}s"},
                "auto_close": f"{TELL_AGAIN_SECONDS}s",
            },
            notification_channels=[channel.id for channel in channels],
            documentation={
                "content": f"Backups of {stack.name} were not copied to Google."
                f" What to do: {RUNBOOK}#gcs-copy-failed"
            },
            user_labels=_labels(stack),
            opts=self._child(),
        )

    def _channel(self, args: GcsCopyArgs, contact: str) -> monitoring.NotificationChannel:
        """One who is told.

        Types and their labels: Cloud Monitoring documentation, "Notification channels".
        """
        web = contact.startswith("https://")
        return monitoring.NotificationChannel(
            # A name that stays when contacts before it are removed.
            f"{self._name}-contact-{hashlib.sha256(contact.encode()).hexdigest()[:8]}",
            display_name=f"{args.stack.name}: critical",
            project=args.project,
            type="webhook_tokenauth" if web else "email",
            labels={"url": contact} if web else {"email_address": contact},
            user_labels=_labels(args.stack),
            opts=self._child(),
        )


def _seconds(days: int) -> str:
    """A duration as Google's APIs write it."""
    return f"{days * gcs_lifecycle.SECONDS_A_DAY}s"


def _labels(stack: StackConfig) -> dict[str, str]:
    """The stack's tags; labels are in lower case."""
    return {name.lower(): value.lower() for name, value in stack.tags.items()}
