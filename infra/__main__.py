"""The program of every stack: read what the stack is about, build it, say where it is."""

import sys
from pathlib import Path

import pulumi
import pulumi_aws as aws

# Pulumi starts this file with infra/ as the folder of the program; the package lies above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from infra.components.backup_bucket import BackupBucket, BackupBucketArgs
from infra.config import StackError, load_stack_config
from steward.appfile import AppFileError


def account_id() -> str:
    """The account that the credentials belong to; the first question to AWS, so it finds a wrong set-up."""
    try:
        return aws.get_caller_identity().account_id
    except Exception as error:  # the SDK raises nothing narrower, and its text begins with its own names
        raise pulumi.RunError(str(error).rpartition("returned an error: ")[2]) from error


def main() -> None:
    """Register the resources of the current stack and export what the hosts need."""
    try:
        stack = load_stack_config(
            pulumi.get_stack(), pulumi.Config("aws").get("region"), pulumi.Config().get("objectLockMode")
        )
    except (StackError, AppFileError) as error:
        raise pulumi.RunError(str(error)) from error  # printed as one line, without a traceback

    store = BackupBucket(
        f"{stack.app.name}-{stack.environment}-backups",
        BackupBucketArgs(stack, account_id()),
    )

    pulumi.export("backup_bucket", store.bucket)
    pulumi.export("backup_bucket_arn", store.arn)
    pulumi.export("backup_kms_key_arn", store.kms_key_arn)
    pulumi.export("backup_region", stack.region)
    pulumi.export("backup_object_lock_mode", stack.object_lock_mode)
    pulumi.export("backup_writer_user", store.writer_user)


main()
