"""One S3 request after its signature was checked: permissions, then the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.aws_endpoint import (
    bucket_watch,
    buckets,
    moto_backend,
    object_delete,
    object_lock,
    object_read,
    object_write,
    replication,
    s3_request,
)
from sandbox.aws_endpoint.authorize import Authorizer
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.payload import Body
from sandbox.aws_endpoint.s3_request import S3Request

#: Puts that may carry encryption headers.
_WRITES = {("PUT", ""), ("POST", "uploads")}


@dataclass
class Exchange:
    """An S3 request on its way; everything here runs under moto's lock."""

    request: S3Request
    authorizer: Authorizer
    region: str
    now: datetime
    context: dict[str, Sequence[str]] = field(default_factory=dict)
    _created: bool = False

    @property
    def actions(self) -> list[str]:
        """The actions the request needs, for the log."""
        return [action for action, _ in s3_request.permissions(self.request)]

    def _bucket(self) -> Any:
        bucket = moto_backend.bucket(self.request.bucket)
        if bucket is None:
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        return bucket

    def _require(self, action: str, arn: str) -> None:
        self.authorizer.require(self.authorizer.allows_s3(action, arn, self.context), action, arn)

    def authorize(self, body: Body | None) -> None:
        """Check every permission the request needs, also on KMS keys.

        Raises:
            AwsError: ``AccessDenied`` with the action and resource that lack it.
        """
        request = self.request
        if request.subresource == "retention" and request.method == "PUT" and body:
            retention: tuple[str, datetime | None] | None = object_lock.retention_of(body)
        else:
            retention = object_lock.requested(request.headers)
        self.context = dict(s3_request.context(request, retention, self.now))
        for action, resource in s3_request.permissions(request):
            self._require(action, resource)
        if "x-amz-server-side-encryption-customer-algorithm" in request.headers:
            raise AwsError("NotImplemented", "SSE-C is not implemented by this endpoint.", 501)
        if request.key:
            self._require_keys()

    def _key_arn(self) -> str | None:
        """ARN of the KMS key a put names; checks that it exists and is enabled."""
        reference = self.request.headers.get("x-amz-server-side-encryption-aws-kms-key-id")
        return str(self._usable_key(reference).arn) if reference else None

    def _usable_key(self, reference: str) -> Any:
        key = moto_backend.kms_key(reference, self.region)
        if key is None:
            raise AwsError("KMS.NotFoundException", f"Invalid keyId {reference}", 400)
        if key.key_state != "Enabled":
            raise AwsError("KMS.DisabledException", f"{key.arn} is {key.key_state}.", 400)
        return key

    def _use_key(
        self, action: str, encryption: str | None, reference: str | None, arn: str, bucket_key: bool
    ) -> None:
        # Without a key id S3 uses the account's own aws/s3 key, whose policy lets the whole account in.
        if encryption == "aws:kms" and reference:
            scope = arn.partition("/")[0] if bucket_key else arn
            self.authorizer.require_key(action, self._usable_key(reference), self.region, scope)

    def _require_keys(self) -> None:
        """Permissions on the KMS keys of what is read and written."""
        request, bucket = self.request, moto_backend.bucket(self.request.bucket)
        if bucket is None:
            return
        rule = (bucket.encryption or {}).get("Rule", {})
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        bucket_key = str(rule.get("BucketKeyEnabled", "")).lower() == "true"
        place = (request.method, request.subresource)
        if place in _WRITES:
            encryption = request.headers.get("x-amz-server-side-encryption") or default.get("SSEAlgorithm")
            reference = request.headers.get("x-amz-server-side-encryption-aws-kms-key-id") or default.get(
                "KMSMasterKeyID"
            )
            self._use_key("kms:GenerateDataKey", encryption, reference, request.arn, bucket_key)
        elif request.subresource == "uploadId" and request.method in ("PUT", "POST"):
            upload = bucket.multiparts.get(request.parameter("uploadId"))
            if upload:
                encryption = upload.sse_encryption or default.get("SSEAlgorithm")
                reference = upload.kms_key_id or default.get("KMSMasterKeyID")
                for action in ("kms:GenerateDataKey", "kms:Decrypt"):
                    self._use_key(action, encryption, reference, request.arn, bucket_key)
        read: tuple[str, str, str | None] | None = (
            s3_request.copy_source(request) if place[0] == "PUT" else None
        )
        if place in (("GET", ""), ("HEAD", ""), ("GET", "attributes")):
            read = (request.bucket, request.key, request.version_id)
        if read and moto_backend.bucket(read[0]):
            key = moto_backend.s3().get_object(read[0], read[1], version_id=read[2])
            if key is not None:
                own_key = str(key.bucket_key_enabled).lower() == "true"
                self._use_key(
                    "kms:Decrypt",
                    key.encryption,
                    key.kms_key_id,
                    f"arn:aws:s3:::{read[0]}/{read[1]}",
                    own_key,
                )

    def answer(self, body: Body) -> Response | None:
        """The answer of a mended operation; None leaves it to moto, checked."""
        request = self.request
        if not request.bucket:
            return None
        if not request.key:
            return self._answer_bucket(body)
        bucket = self._bucket()
        place = (request.method, request.subresource)
        if place == ("PUT", "") or place == ("POST", "uploads"):
            if bucket.versioning_status == "Suspended":
                raise AwsError(
                    "NotImplemented", "Writing to a bucket with suspended versioning is not implemented.", 501
                )
            buckets.check_acl(bucket, request, None)
            if "x-amz-copy-source" in request.headers:
                object_lock.for_new_object(bucket, request.headers, self.now)
                return None
            if place[0] == "PUT":
                return object_write.put(bucket, request, body, self.now, self._key_arn())
            return object_write.create_upload(bucket, request, self.now, self._key_arn())
        if request.subresource == "uploadId" and request.method in ("PUT", "POST", "DELETE"):
            if request.method == "POST":
                return object_write.complete_upload(bucket, request, body)
            object_write.find_upload(bucket, request)
            if request.method == "PUT" and "x-amz-copy-source" not in request.headers:
                return object_write.put_part(bucket, request, body)
            return None
        if place == ("DELETE", ""):
            return object_delete.delete_one(bucket, request, self.now)
        if place in (("GET", ""), ("HEAD", "")):
            return object_read.serve(request, self._version(bucket), show_lock=self._shows_lock())
        if request.subresource in ("retention", "legal-hold"):
            return self._answer_lock(bucket, self._version(bucket), body)
        if request.subresource == "acl":
            buckets.check_acl(bucket, request, body)
        return None

    def _answer_lock(self, bucket: Any, key: Any, body: Body) -> Response:
        request = self.request
        if request.subresource == "retention":
            if request.method == "PUT":
                return object_lock.put_retention(bucket, key, body, self.now, bypass=request.bypass)
            return object_lock.get_retention(bucket, key)
        if request.method == "PUT":
            return object_lock.put_legal_hold(bucket, key, body)
        return object_lock.get_legal_hold(bucket, key)

    def _shows_lock(self) -> bool:
        return self.authorizer.allows_s3("s3:GetObjectRetention", self.request.arn, self.context).allowed

    def _version(self, bucket: Any) -> Any:
        """The version asked for; what AWS says when it is missing depends on who asks."""
        request = self.request
        found = moto_backend.s3().get_object(
            bucket.name, request.key, version_id=request.version_id, return_delete_marker=True
        )
        if found is not None and hasattr(found, "contentsize"):
            return found
        if found is not None and request.version_id:
            raise AwsError(
                "MethodNotAllowed", "The specified method is not allowed against a delete marker.", 405
            )
        # Who may not list a bucket does not learn which keys it lacks.
        self._require("s3:ListBucket", f"arn:aws:s3:::{bucket.name}")
        if request.version_id:
            raise AwsError("NoSuchVersion", "The specified version does not exist.", 404)
        raise AwsError("NoSuchKey", "The specified key does not exist.", 404)

    def _answer_bucket(self, body: Body) -> Response | None:
        request = self.request
        place = (request.method, request.subresource)
        if place == ("PUT", ""):
            buckets.check_name(request.bucket)
            self._created = moto_backend.bucket(request.bucket) is None
            return None
        bucket = self._bucket()
        if request.subresource in bucket_watch.SUBRESOURCES:
            return bucket_watch.answer(bucket, request, body)
        if place == ("POST", "delete"):
            return object_delete.delete_many(bucket, request, body, self.now, self._require)
        if place == ("PUT", "object-lock"):
            return object_lock.put_configuration(bucket, body)
        if place == ("GET", "object-lock"):
            return object_lock.get_configuration(bucket)
        if place == ("GET", "replication"):
            return replication.configuration(bucket)
        if place == ("PUT", "policy"):
            buckets.check_policy(bucket, body.read())
        elif place == ("PUT", "acl"):
            buckets.check_acl(bucket, request, body)
        elif place == ("PUT", "versioning"):
            buckets.check_versioning(bucket, body)
        elif place == ("PUT", "lifecycle"):
            bucket_watch.remember_lifecycle(bucket, request)
        elif place == ("PUT", "replication"):
            replication.check(body)
        return None

    def finish(self, response: Response) -> Response:
        """Mend what moto answered."""
        request = self.request
        place = (request.method, request.subresource)
        if response.status >= 300:
            return response
        bucket = moto_backend.bucket(request.bucket)
        if place == ("PUT", "") and not request.key and self._created and bucket:
            buckets.set_defaults(bucket)
        elif place == ("DELETE", "encryption") and bucket:
            buckets.set_default_encryption(bucket)
        elif place == ("PUT", "policy"):
            return Response(204)
        elif place in (("GET", "lifecycle"), ("PUT", "lifecycle")) and bucket:
            return bucket_watch.tell_lifecycle(bucket, response)
        elif request.key and "x-amz-copy-source" in request.headers and bucket:
            # moto lets a copy share the parts of its source, and would close them with the copy.
            bucket.keys[request.key].multipart = None
        return response
