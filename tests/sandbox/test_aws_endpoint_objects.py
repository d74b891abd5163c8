"""Objects at the endpoint: parts, checksums, conditions, ranges, and many at once."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from sandbox.aws_endpoint import checksums
from tests.support.aws import AwsEndpoint

PART = 5 * 1024 * 1024


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [  # of the text 123456789, from the catalogue of CRCs and RFC 6234
        ("CRC32", "cbf43926"),
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("SHA1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("SHA256", hashlib.sha256(b"123456789").hexdigest()),
    ],
)
def test_checksums(algorithm: str, expected: str) -> None:
    checksum = checksums.new(algorithm)
    checksum.update(b"1234")
    checksum.update(b"56789")
    assert checksum.digest().hex() == expected


def test_the_table_is_right_even_where_a_library_does_the_work() -> None:
    assert checksums.table_crc(0x82F63B78, 32)(b"123456789", 0) == 0xE3069283
    assert checksums.table_crc(0x9A6C9329AC4BC9B5, 64)(b"123456789", 0) == 0xAE8B14860A799888
    assert checksums.table_crc(0xEDB88320, 32)(b"123456789", 0) == zlib.crc32(b"123456789")


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("algorithm", [None, "CRC32", "SHA1", "SHA256"])
def test_a_multipart_upload_arrives_whole_with_its_checksum(
    aws_endpoint: AwsEndpoint, algorithm: str | None, plain: bool
) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3", plain=plain)
    data = os.urandom(2 * PART + 12345)
    extra = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    s3.upload_fileobj(
        io.BytesIO(data),
        bucket,
        "x",
        ExtraArgs={"Metadata": {"who_am": "i"}, "ContentType": "text/x", **extra},
        Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=3),
    )
    answer = s3.get_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    assert answer["Body"].read() == data
    assert (answer["Metadata"], answer["ContentType"]) == ({"who_am": "i"}, "text/x")
    assert answer["ServerSideEncryption"] == "AES256"
    parts = [data[i : i + PART] for i in range(0, len(data), PART)]
    md5 = hashlib.md5(b"".join(hashlib.md5(p).digest() for p in parts)).hexdigest()  # noqa: S324 - an ETag
    assert answer["ETag"] == f'"{md5}-3"'
    if algorithm in ("SHA1", "SHA256"):
        digest = hashlib.new(algorithm, b"".join(hashlib.new(algorithm, p).digest() for p in parts)).digest()
        assert answer[f"Checksum{algorithm}"] == base64.b64encode(digest).decode() + "-3"
    assert s3.get_object(Bucket=bucket, Key="x", PartNumber=3)["Body"].read() == parts[2]
    assert s3.head_object(Bucket=bucket, Key="x", PartNumber=1)["PartsCount"] == 3


def test_ranges_cross_parts(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")
    data = os.urandom(2 * PART)
    s3.upload_fileobj(
        io.BytesIO(data),
        bucket,
        "x",
        Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART),
    )
    for header, expected, shown in (
        (
            f"bytes={PART - 3}-{PART + 3}",
            data[PART - 3 : PART + 4],
            f"bytes {PART - 3}-{PART + 3}/{2 * PART}",
        ),
        ("bytes=-5", data[-5:], f"bytes {2 * PART - 5}-{2 * PART - 1}/{2 * PART}"),
        (f"bytes={PART}-", data[PART:], f"bytes {PART}-{2 * PART - 1}/{2 * PART}"),
    ):
        answer = s3.get_object(Bucket=bucket, Key="x", Range=header)
        assert (answer["Body"].read(), answer["ContentRange"]) == (expected, shown)
    assert refusal(s3.get_object, Bucket=bucket, Key="x", Range=f"bytes={2 * PART}-") == "InvalidRange"
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


def test_digests_that_differ_are_refused(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    one: dict[str, Any] = {"Bucket": bucket, "Key": "x", "Body": b"data"}
    assert refusal(s3.put_object, **one, ChecksumSHA256=wrong) == "BadDigest"
    assert refusal(s3.put_object, **one, ContentMD5=base64.b64encode(bytes(16)).decode()) == "BadDigest"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x", ChecksumAlgorithm="SHA256")["UploadId"]
    part = {**one, "UploadId": upload, "PartNumber": 1}
    assert refusal(s3.upload_part, **part, ChecksumSHA256=wrong) == "BadDigest"
    assert refusal(s3.upload_part, **part, ChecksumAlgorithm="CRC32") == "InvalidRequest"
    etag = s3.upload_part(**part, ChecksumAlgorithm="SHA256")["ETag"]
    listed = {"Parts": [{"PartNumber": 1, "ETag": etag, "ChecksumSHA256": wrong}]}
    call = {"Bucket": bucket, "Key": "x", "UploadId": upload}
    assert refusal(s3.complete_multipart_upload, **call, MultipartUpload=listed) == "InvalidPart"
    assert refusal(s3.get_object, Bucket=bucket, Key="x") == "NoSuchKey"


def test_uploads_that_cannot_be_completed(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")
    call = {
        "Bucket": bucket,
        "Key": "x",
        "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"],
    }
    etags = {n: s3.upload_part(**call, PartNumber=n, Body=b"small")["ETag"] for n in (1, 2)}

    def complete(*parts: tuple[int, str]) -> dict[str, Any]:
        return {**call, "MultipartUpload": {"Parts": [{"PartNumber": n, "ETag": e} for n, e in parts]}}

    assert refusal(s3.complete_multipart_upload, **complete((1, etags[1]), (2, etags[2]))) == "EntityTooSmall"
    assert (
        refusal(s3.complete_multipart_upload, **complete((2, etags[2]), (1, etags[1]))) == "InvalidPartOrder"
    )
    assert refusal(s3.complete_multipart_upload, **complete((3, etags[1]))) == "InvalidPart"
    assert refusal(s3.upload_part, **{**call, "UploadId": "none"}, PartNumber=1, Body=b"x") == "NoSuchUpload"
    assert refusal(s3.upload_part, **call, PartNumber=10001, Body=b"x") == "InvalidArgument"
    first = s3.complete_multipart_upload(**complete((2, etags[2])))
    assert s3.complete_multipart_upload(**complete((2, etags[2])))["ETag"] == first["ETag"]
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"small"
    assert refusal(s3.abort_multipart_upload, **call) == "NoSuchUpload"


def test_conditional_writes_let_one_of_many_win(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")

    def attempt(number: int) -> str:
        try:
            s3.put_object(Bucket=bucket, Key="lock", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "won"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(16))) == ["PreconditionFailed"] * 15 + ["won"]
    etag = s3.head_object(Bucket=bucket, Key="lock")["ETag"]
    assert (
        refusal(s3.put_object, Bucket=bucket, Key="lock", Body=b"", IfMatch='"other"') == "PreconditionFailed"
    )
    upload = s3.create_multipart_upload(Bucket=bucket, Key="lock")["UploadId"]
    call = {"Bucket": bucket, "Key": "lock", "UploadId": upload}
    part = s3.upload_part(**call, PartNumber=1, Body=b"new")["ETag"]
    listed = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part}]}}
    assert refusal(s3.complete_multipart_upload, **call, **listed, IfNoneMatch="*") == "PreconditionFailed"
    s3.complete_multipart_upload(**call, **listed, IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="lock")["Body"].read() == b"new"


def memory_mib(pid: int) -> int:
    """Highest resident memory a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("no VmHWM")


def test_parallel_uploads_keep_every_version_and_little_memory(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    before = memory_mib(aws_endpoint.pid)
    size = 2 * 16 * 1024 * 1024
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=16 * 1024 * 1024, max_concurrency=2)
    blocks = [os.urandom(1024 * 1024) for _ in range(4)]

    def upload(number: int) -> str:
        data = blocks[number % 4] * (size // len(blocks[0]))
        s3.upload_fileobj(io.BytesIO(data), bucket, "same" if number % 2 else f"own-{number}", Config=config)
        return hashlib.sha256(data).hexdigest()

    with ThreadPoolExecutor(4) as pool:
        wanted = sorted(pool.map(upload, range(6)))
    found = []
    for version in s3.list_object_versions(Bucket=bucket)["Versions"]:
        digest = hashlib.sha256()
        answer = s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        for piece in answer["Body"].iter_chunks(1024 * 1024):
            digest.update(piece)
        found.append(digest.hexdigest())
    assert sorted(found) == wanted
    # 192 MiB went in and out again; moto alone keeps several copies of each object in memory.
    assert memory_mib(aws_endpoint.pid) - before < 96


def test_a_copy_lives_without_its_source(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")
    data = os.urandom(2 * PART)
    s3.upload_fileobj(
        io.BytesIO(data),
        bucket,
        "a",
        Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART),
    )
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    s3.delete_object(Bucket=bucket, Key="b")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == data


def test_a_new_bucket_is_as_closed_as_on_aws(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")
    rule = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"][0]
    assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert list(block.values()) == [True] * 4
    assert refusal(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == "AccessControlListNotSupported"
    acl = {"Bucket": bucket, "Key": "x", "Body": b""}
    assert refusal(s3.put_object, **acl, ACL="public-read") == "AccessControlListNotSupported"
    s3.put_object(**acl, ACL="bucket-owner-full-control")
    assert refusal(s3.create_bucket, Bucket="Not_A_Name") == "InvalidBucketName"


def test_what_moto_lacks_is_refused_and_destroys_nothing(aws_endpoint: AwsEndpoint) -> None:
    bucket, s3 = aws_endpoint.new_bucket(), aws_endpoint.client("s3")
    assert refusal(s3.delete_bucket_metrics_configuration, Bucket=bucket, Id="x") == "NotImplemented"
    assert refusal(s3.list_bucket_analytics_configurations, Bucket=bucket) == "NotImplemented"
    s3.head_bucket(Bucket=bucket)
