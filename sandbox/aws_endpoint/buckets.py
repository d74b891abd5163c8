"""Rules of AWS for buckets that moto lets pass, and the settings a new bucket has."""

from __future__ import annotations

import re
from typing import Any

from sandbox.aws_endpoint import glob, moto_backend, policy, xml
from sandbox.aws_endpoint.conditions import MalformedPolicyError
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.payload import Body
from sandbox.aws_endpoint.s3_request import S3Request

_NAME = re.compile(r"(?!xn--|\d+\.\d+\.\d+\.\d+$)[a-z0-9]([a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
#: Actions on objects: their resource needs the slash. From the service authorization reference.
_OBJECT_ACTION = re.compile(
    r"s3:(Get|Put|Delete|Restore|Replicate|Abort|BypassGovernance|List)(Object|MultipartUpload|Delete|Tags|Retention).*"
)
_OPEN_CANNED_ACLS = {"bucket-owner-full-control"}


def is_object_action(action: str) -> bool:
    """Whether an action (without wildcards) applies to objects rather than to buckets."""
    return action == "s3:ListMultipartUploadParts" or bool(
        _OBJECT_ACTION.fullmatch(action) and action not in ("s3:PutObjectLockConfiguration",)
    )


def set_defaults(bucket: Any) -> None:
    """What every new bucket has on AWS since April 2023: no ACLs, no public access, SSE-S3."""
    from moto.s3.models import PublicAccessBlock

    if bucket.ownership_rule is None:
        bucket.ownership_rule = "BucketOwnerEnforced"
    bucket.public_access_block = PublicAccessBlock("true", "true", "true", "true")
    set_default_encryption(bucket)


def set_default_encryption(bucket: Any) -> None:
    """SSE-S3, which a bucket cannot be without."""
    bucket.encryption = {
        "Rule": {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
            "BucketKeyEnabled": "false",
        }
    }


def check_name(name: str) -> None:
    """Raise ``InvalidBucketName`` for a name AWS would not take."""
    if not _NAME.fullmatch(name):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400)


def check_acl(bucket: Any, request: S3Request, body: Body | None) -> None:
    """Refuse ACLs where ownership is enforced.

    Raises:
        AwsError: ``AccessControlListNotSupported``.
    """
    given = {name for name in request.headers if name == "x-amz-acl" or name.startswith("x-amz-grant-")}
    in_body = (
        request.subresource == "acl" and request.method == "PUT" and (bool(body and body.size) or not given)
    )
    harmless = (
        given <= {"x-amz-acl"}
        and request.headers.get("x-amz-acl") in {None, *_OPEN_CANNED_ACLS}
        and not in_body
    )
    if bucket.ownership_rule == "BucketOwnerEnforced" and not harmless:
        raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs", 400)


def check_versioning(bucket: Any, body: Body) -> None:
    """A bucket with Object Lock stays versioned."""
    status = xml.parse(body.read(), "VersioningConfiguration").get("Status")
    if bucket.object_lock_enabled and status != "Enabled":
        raise AwsError(
            "InvalidBucketState",
            "An Object Lock configuration is present on this bucket, so its versioning cannot be changed.",
            409,
        )


def check_policy(bucket: Any, text: bytes) -> None:
    """Refuse a bucket policy that AWS would refuse, or that this endpoint cannot evaluate.

    Raises:
        AwsError: ``MalformedPolicy`` naming the part; ``AccessDenied`` for a public policy that is blocked.
    """
    try:
        document = policy.parse(text, "resource", "bucket policy")
        for statement in document.statements:
            _check_statement(bucket.name, statement)
    except MalformedPolicyError as error:
        raise AwsError("MalformedPolicy", str(error), 400) from error
    from moto.s3.utils import bucket_policy_is_public

    block = bucket.public_access_block
    if block and block.block_public_policy and bucket_policy_is_public(text):
        raise AwsError(
            "AccessDenied", "Public policies are prevented by the BlockPublicPolicy setting of the bucket."
        )


def _check_statement(bucket: str, statement: policy.Statement) -> None:
    for action in statement.actions:
        if action != "*" and not action.lower().startswith("s3:"):
            raise MalformedPolicyError(f"Policy has invalid action {action}")
    arn = f"arn:aws:s3:::{bucket}"
    for resource in statement.resources:
        # A wildcard may stand for the bucket's name, but the bucket must be among what it names.
        prefix = resource.split("/", 1)[0]
        if not glob.matches(glob.tokens(prefix, None) or [], arn):
            raise MalformedPolicyError(
                f"Policy has invalid resource {resource}: it does not name bucket {bucket}"
            )
    literal = [a for a in statement.actions if "*" not in a and "?" not in a]
    for action in literal if not statement.not_actions and not statement.not_resources else []:
        if not any(
            ("/" in r or r.endswith("*")) if is_object_action(action) else "/" not in r
            for r in statement.resources
        ):
            raise MalformedPolicyError(f"Action does not apply to any resource(s) in statement: {action}")
    for principal in statement.principals or ():
        found = re.fullmatch(rf"arn:aws:iam::{moto_backend.ACCOUNT}:(user|role)/(.+)", principal)
        if found and not _exists(found[1], principal):
            raise MalformedPolicyError(f"Invalid principal in policy: {principal}")


def _exists(kind: str, arn: str) -> bool:
    iam = moto_backend.iam()
    from sandbox.aws_endpoint.identity import ADMIN_NAME

    if arn == f"arn:aws:iam::{moto_backend.ACCOUNT}:user/{ADMIN_NAME}":
        return True
    holders = iam.users if kind == "user" else iam.roles
    return any(holder.arn == arn for holder in holders.values())
