"""``s3.BucketReplicationConfig``: a setting of the source bucket, like those of ``s3_settings``."""

from __future__ import annotations

from sandbox.aws_plugin.s3_settings import BucketSetting, Calls, to_aws, to_sdk

REPLICATION_ROWS = (
    BucketSetting(
        "aws:s3/bucketReplicationConfig:BucketReplicationConfig",
        {"role", "rules"},
        Calls(
            put="put_bucket_replication",
            get="get_bucket_replication",
            delete="delete_bucket_replication",
            request=lambda i: {"ReplicationConfiguration": to_aws({"role": i["role"], "rules": i["rules"]})},
            state=lambda a: to_sdk(a["ReplicationConfiguration"]),
            missing="ReplicationConfigurationNotFoundError",
        ),
    ),
)
