"""Who is asking, and over what: signatures, presigned URLs and TLS at the endpoint."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.support.aws import REGION, AwsEndpoint, error_code, put_bucket_policy

V4 = Config(signature_version="s3v4")


def fetch(
    endpoint: AwsEndpoint, url: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(endpoint.ca_file)) if url.startswith("https") else None
    request = urllib.request.Request(url, headers=headers or {}, method=method)  # noqa: S310 - our own URL
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("service", "call", "unknown", "wrong"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        ("iam", "list_users", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("sts", "get_caller_identity", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("kms", "list_keys", "UnrecognizedClientException", "InvalidSignatureException"),
        ("secretsmanager", "list_secrets", "UnrecognizedClientException", "InvalidSignatureException"),
        ("cloudwatch", "describe_alarms", "UnrecognizedClientException", "InvalidSignatureException"),
        ("scheduler", "list_schedules", "UnrecognizedClientException", "InvalidSignatureException"),
    ],
)
def test_wrong_keys_are_refused_in_the_words_of_the_service(
    aws_endpoint: AwsEndpoint, service: str, call: str, unknown: str, wrong: str, plain: bool
) -> None:
    getattr(aws_endpoint.client(service, plain=plain), call)()
    with pytest.raises(ClientError) as caught:
        getattr(aws_endpoint.client(service, "AKIANOBODY0000000000", "x", plain), call)()
    assert error_code(caught) == unknown
    with pytest.raises(ClientError) as caught:
        getattr(aws_endpoint.client(service, aws_endpoint.admin_access_key_id, "wrong", plain), call)()
    assert error_code(caught) == wrong


def test_inactive_and_deleted_keys_are_refused(aws_endpoint: AwsEndpoint) -> None:
    user, iam = aws_endpoint.new_user(), aws_endpoint.client("iam")
    assert user.client("sts").get_caller_identity()["Arn"] == user.arn
    iam.update_access_key(UserName=user.name, AccessKeyId=user.access_key_id, Status="Inactive")
    with pytest.raises(ClientError) as caught:
        user.client("sts").get_caller_identity()
    assert error_code(caught) == "InvalidClientTokenId"
    iam.delete_access_key(UserName=user.name, AccessKeyId=user.access_key_id)
    with pytest.raises(ClientError) as caught:
        user.client("s3").list_buckets()
    assert error_code(caught) == "InvalidAccessKeyId"


def test_unsigned_requests_and_motos_own_routes_are_refused(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    for url in (aws_endpoint.http_url, aws_endpoint.https_url):
        assert fetch(aws_endpoint, f"{url}/{bucket}/x")[0] == 403
        assert fetch(aws_endpoint, f"{url}/moto-api/reset", method="POST")[0] == 403
        assert fetch(aws_endpoint, f"{url}/%6doto-api/reset", method="POST")[0] == 403
        assert fetch(aws_endpoint, f"{url}/moto-api/data.json")[0] == 403
    aws_endpoint.client("s3").head_bucket(Bucket=bucket)


def test_a_signed_request_does_not_reach_motos_routes_either(aws_endpoint: AwsEndpoint) -> None:
    url = f"{aws_endpoint.http_url}/moto-api/reset"
    request = AWSRequest("POST", url, data=b"", headers={"Content-Length": "0"})
    admin = Credentials(aws_endpoint.admin_access_key_id, aws_endpoint.admin_secret_access_key)
    S3SigV4Auth(admin, "s3", REGION).add_auth(request)
    assert fetch(aws_endpoint, url, dict(request.headers.items()), "POST")[0] == 403


def signed_put(endpoint: AwsEndpoint, url: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
    request = AWSRequest("PUT", url, data=body, headers=headers)
    admin = Credentials(endpoint.admin_access_key_id, endpoint.admin_secret_access_key)
    S3SigV4Auth(admin, "s3", REGION).add_auth(request)
    return dict(request.headers.items())


def send(endpoint: AwsEndpoint, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=body, headers=headers, method="PUT")  # noqa: S310 - our own URL
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_body_or_header_changed_on_the_way_is_refused(aws_endpoint: AwsEndpoint) -> None:
    url = f"{aws_endpoint.http_url}/{aws_endpoint.new_bucket()}/x"
    headers = signed_put(aws_endpoint, url, b"body", {"x-amz-meta-a": "1"})
    assert send(aws_endpoint, url, b"body", headers)[0] == 200
    status, answer = send(aws_endpoint, url, b"BODY", headers)
    assert (status, b"XAmzContentSHA256Mismatch" in answer) == (400, True)
    status, answer = send(aws_endpoint, url, b"body", headers | {"X-Amz-Meta-A": "2", "x-amz-meta-a": "2"})
    assert (status, b"SignatureDoesNotMatch" in answer) == (403, True)
    status, answer = send(aws_endpoint, url, b"body", headers | {"x-amz-bypass-governance-retention": "true"})
    assert (status, b"not signed" in answer) == (403, True)


def test_presigned_urls(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    for plain in (False, True):
        s3 = aws_endpoint.client("s3", plain=plain, config=V4)
        s3.put_object(Bucket=bucket, Key="a b/ü+&.txt", Body=b"hello")
        url = s3.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": "a b/ü+&.txt"}, ExpiresIn=60
        )
        assert fetch(aws_endpoint, url) == (200, b"hello")
        longer = url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
        assert fetch(aws_endpoint, longer)[0] == 403
        other = url.replace(f"/{bucket}/", f"/{aws_endpoint.new_bucket()}/")
        assert b"SignatureDoesNotMatch" in fetch(aws_endpoint, other)[1]


def test_a_virtual_hosted_bucket_is_the_same_bucket(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    aws_endpoint.client("s3").put_object(Bucket=bucket, Key="k/ä", Body=b"v")
    host = f"{bucket}.s3.{REGION}.amazonaws.com"
    request = AWSRequest("GET", f"http://{host}/k/%C3%A4")
    admin = Credentials(aws_endpoint.admin_access_key_id, aws_endpoint.admin_secret_access_key)
    S3SigV4Auth(admin, "s3", REGION).add_auth(request)
    headers = dict(request.headers.items()) | {"Host": host}
    assert fetch(aws_endpoint, f"{aws_endpoint.http_url}/k/%C3%A4", headers) == (200, b"v")


# --- transport ---


def test_a_tls_only_policy_refuses_plain_http_and_serves_https(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    arns = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    secure, plain = aws_endpoint.client("s3"), aws_endpoint.client("s3", plain=True)
    plain.put_object(Bucket=bucket, Key="before", Body=b"x")
    put_bucket_policy(
        aws_endpoint,
        bucket,
        {
            "Sid": "DenyInsecureTransport",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": arns,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )
    secure.put_object(Bucket=bucket, Key="x", Body=b"x")
    assert secure.get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"
    for call in (
        lambda: plain.put_object(Bucket=bucket, Key="y", Body=b"x"),
        lambda: plain.get_object(Bucket=bucket, Key="x"),
        lambda: plain.list_objects_v2(Bucket=bucket),
        lambda: plain.delete_bucket_policy(Bucket=bucket),
        lambda: plain.create_multipart_upload(Bucket=bucket, Key="z"),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert error_code(caught) == "AccessDenied"
    assert "DenyInsecureTransport" in str(caught.value)
    assert "y" not in [o["Key"] for o in secure.list_objects_v2(Bucket=bucket)["Contents"]]


def test_the_tls_version_is_seen(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    put_bucket_policy(
        aws_endpoint,
        bucket,
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.3"}},
        },
    )
    s3 = aws_endpoint.client("s3", config=V4)
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")  # TLS 1.3
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "x"})
    context = ssl.create_default_context(cafile=str(aws_endpoint.ca_file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, context=context, timeout=30)  # noqa: S310
    with caught.value:
        assert caught.value.code == 403
    assert fetch(aws_endpoint, url) == (200, b"x")
    # Without TLS there is no version to compare: that is what the other statement is for.
    assert aws_endpoint.client("s3", plain=True).get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"
