"""The stand-in for the AWS provider, without an engine: checks, differences, settings, values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulumi.provider.experimental import provider as protocol
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import PropertyDiffKind

from sandbox.aws_plugin import registry, schema, values
from sandbox.aws_plugin.differences import compare
from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.provider import StandIn
from sandbox.aws_plugin.settings import Aws, parse
from sandbox.aws_plugin.settings import check as check_settings
from sandbox.aws_plugin.values import UNKNOWN
from tests.support.aws import AwsEndpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
BUCKET = "aws:s3/bucket:Bucket"
KEY = "aws:kms/key:Key"


def problems(type_name: str, inputs: Mapping[str, Any]) -> list[str]:
    return [f"{p.path}: {p.reason}" for p in registry.RESOURCES[type_name].check(dict(inputs))]


def rule(**changes: Any) -> dict[str, Any]:
    return {"bucket": "b", "rules": [{"id": "a", "status": "Enabled", "filter": {"prefix": "x/"}, **changes}]}


@pytest.mark.parametrize(
    ("type_name", "inputs", "expected"),
    [
        (LIFECYCLE, rule(expiration={"days": 7}), None),
        (LIFECYCLE, rule(expirationn={"days": 7}), "rules[0].expirationn: is not an argument"),
        (LIFECYCLE, rule(expiration={"day": 7}), "rules[0].expiration.day: is not an argument"),
        (LIFECYCLE, rule(expiration={"days": "7"}), "rules[0].expiration.days: must be int, got '7'"),
        (LIFECYCLE, rule(expiration={"days": True}), "rules[0].expiration.days: must be int, got True"),
        (LIFECYCLE, rule(expiration=[7]), "rules[0].expiration: must be an object, got [7]"),
        (LIFECYCLE, {"bucket": "b", "rules": {"id": "a"}}, "rules: must be a list"),
        (LIFECYCLE, {"bucket": "b", "rules": [{"id": "a"}]}, "rules[0].status: is required"),
        (LIFECYCLE, {"rules": []}, "bucket: is required"),
        (LIFECYCLE, {"bucket": UNKNOWN, "rules": UNKNOWN}, None),
        (LIFECYCLE, {"bucket": "b", "expectedBucketOwner": "1"}, "the stand-in does not do this argument"),
        (BUCKET, {"acl": "private"}, "acl: the stand-in does not do this argument"),
        (BUCKET, {"tags": {"a": 1}}, "tags.a: must be str, got 1"),
        (BUCKET, {"acll": None}, "acll: is not an argument of BucketArgs; did you mean acl?"),
        (KEY, {"enableKeyRotation": "true"}, "enableKeyRotation: must be bool"),
        (KEY, {"multiRegion": True}, "the stand-in does not do this argument"),
    ],
)
def test_arguments_are_checked_against_the_sdk(
    type_name: str, inputs: dict[str, Any], expected: str | None
) -> None:
    found = problems(type_name, inputs)
    assert any(expected in problem for problem in found) if expected else found == []


@pytest.mark.parametrize("type_name", sorted(registry.RESOURCES))
def test_every_row_uses_names_of_the_sdk(type_name: str) -> None:
    row = registry.RESOURCES[type_name]
    arguments = set(schema.fields(schema.arguments_class(type_name)))
    assert row.carried <= arguments
    assert row.computed | row.replaces | row.remembered <= row.carried
    assert row.named_by is None or row.named_by in row.carried
    assert row.made <= schema.outputs(type_name)
    assert not row.made & arguments


def test_types_and_functions_without_a_row_are_named() -> None:
    with pytest.raises(StandInError, match="does not do aws:sqs/queue:Queue; add a row"):
        registry.resource_type("aws:sqs/queue:Queue")
    with pytest.raises(
        StandInError, match="aws:s3/bucketPolici:BucketPolici is not a resource type of the AWS SDK"
    ):
        registry.resource_type("aws:s3/bucketPolici:BucketPolici")
    with pytest.raises(StandInError, match="not a resource type"):
        registry.resource_type("aws:nothing/thing:Thing")
    with pytest.raises(StandInError, match="does not do the function"):
        registry.function("aws:ec2/getVpc:getVpc")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_values_survive_the_way_to_the_engine_and_back(given_values: dict[str, Any]) -> None:
    sent = PropertyValue.marshal_map({k: values.from_plain(v) for k, v in given_values.items()})
    assert values.to_properties(PropertyValue.unmarshal_map(sent)) == given_values


def test_unknown_values_survive_as_well() -> None:
    sent = PropertyValue.marshal_map(values.from_properties({"a": UNKNOWN, "b": [{"c": UNKNOWN}]}))
    assert values.to_properties(PropertyValue.unmarshal_map(sent)) == {"a": UNKNOWN, "b": [{"c": UNKNOWN}]}


@settings(max_examples=50)
@given(json_values)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert not list(compare(value, value, "x"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (7, 8, [("x", "UPDATE")]),
        (None, 8, [("x", "ADD")]),
        ({"a": 1}, None, [("x", "DELETE")]),
        (None, False, []),
        ("", None, []),
        (True, 1, [("x", "UPDATE")]),
        ({"a": [1, 2]}, {"a": [1]}, [("x.a[1]", "DELETE")]),
        ([{"a": 1}], [{"a": 2, "b": 3}], [("x[0].a", "UPDATE"), ("x[0].b", "ADD")]),
        ('{"a": 1, "b": 2}', '{ "b":2,"a":1 }', []),
        ('{"a": 1}', '{"a": 2}', [("x", "UPDATE")]),
        ("a", UNKNOWN, [("x", "UPDATE")]),
    ],
)
def test_differences(old: Any, new: Any, expected: list[tuple[str, str]]) -> None:
    assert [(d.path, d.kind.name) for d in compare(old, new, "x")] == expected


def test_settings_arrive_as_strings_and_are_checked() -> None:
    parsed = parse(
        {
            "region": "us-east-1",
            "version": "7.51.1",
            "endpoints": '[{"s3": "http://127.0.0.1:1"}]',
            "s3UsePathStyle": "true",
            "defaultTags": '{"tags": {"a": "b"}}',
        }
    )
    assert parsed["endpoints"] == [{"s3": "http://127.0.0.1:1"}]
    assert parsed["s3UsePathStyle"] is True
    assert not list(check_settings(parsed))
    with pytest.raises(StandInError, match="endpoints: not JSON"):
        parse({"endpoints": "[{"})
    found = {p.path: p.reason for p in check_settings({"regionn": "x", "profile": "p", "maxRetries": "many"})}
    assert "did you mean region?" in found["regionn"]
    assert "does not do this provider setting" in found["profile"]
    assert "must be int" in found["maxRetries"]


@pytest.mark.parametrize("url", ["https://s3.us-east-1.amazonaws.com", "https://sts.amazonaws.com", ""])
def test_the_stand_in_never_talks_to_aws(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(StandInError, match=r"AWS itself|never to AWS"):
        Aws({"region": "us-east-1"}).client("s3")


def urn(type_name: str) -> str:
    return f"urn:pulumi:s::p::steward:backup:BackupBucket${type_name}::name"


def configured(endpoint: AwsEndpoint, **more: str) -> StandIn:
    """A provider that is configured by settings alone, as an ``aws.Provider`` in a program does."""
    services = dict.fromkeys(("s3", "sts", "iam", "kms"), endpoint.https_url)
    arguments = {
        "region": "us-east-1",
        "accessKey": endpoint.admin_access_key_id,
        "secretKey": endpoint.admin_secret_access_key,
        "customCaBundle": str(endpoint.ca_file),
        "endpoints": json.dumps([services]),
        "s3UsePathStyle": "true",
        **more,
    }
    provider = StandIn()
    request = protocol.ConfigureRequest({}, values.from_properties(arguments), True, True)
    response = asyncio.run(provider.configure(request))
    assert response.supports_preview
    return provider


def diff(
    provider: StandIn, type_name: str, old: dict[str, Any], new: dict[str, Any]
) -> protocol.DiffResponse:
    request = protocol.DiffRequest(
        urn(type_name), "id", values.from_properties(old), values.from_properties(new), []
    )
    return asyncio.run(provider.diff(request))


def test_what_replaces_and_what_updates(aws_endpoint: AwsEndpoint) -> None:
    provider = configured(aws_endpoint)
    old = {
        "bucket": "a",
        "objectLockEnabled": True,
        "region": "us-east-1",
        "tags": {"x": "y"},
        "tagsAll": {"x": "y"},
    }
    same = diff(provider, BUCKET, old, {"bucket": "a", "tags": {"x": "y"}})
    assert (same.changes, same.replaces) == (False, [])
    renamed = diff(provider, BUCKET, old, {"bucket": "b", "tags": {"x": "y"}})
    assert renamed.replaces == ["bucket"]
    assert not renamed.delete_before_replace
    assert renamed.detailed_diff["bucket"].kind is PropertyDiffKind.UPDATE_REPLACE
    unlocked = diff(provider, BUCKET, old, {"bucket": "a", "objectLockEnabled": False, "tags": {"x": "y"}})
    assert unlocked.replaces == ["objectLockEnabled"]
    assert unlocked.delete_before_replace, "two buckets cannot have one name"
    moved = diff(provider, BUCKET, old, {"bucket": "a", "region": "eu-west-1", "tags": {"x": "y"}})
    assert moved.replaces == ["region"]
    tagged = diff(provider, BUCKET, old, {"bucket": "a", "tags": {"x": "z"}})
    assert (tagged.changes, tagged.replaces, tagged.diffs) == (True, [], ["tags"])


def test_a_preview_changes_nothing_and_knows_what_it_cannot_know(aws_endpoint: AwsEndpoint) -> None:
    provider = configured(aws_endpoint)
    request = protocol.CreateRequest(urn(BUCKET), values.from_properties({"bucket": "never-made"}), 0, True)
    state = values.to_properties(asyncio.run(provider.create(request)).properties)
    assert state["bucket"] == "never-made"
    assert state["arn"] is UNKNOWN
    names = [b["Name"] for b in aws_endpoint.client("s3").list_buckets()["Buckets"]]
    assert "never-made" not in names


def test_a_resource_can_be_read_by_its_id_alone(aws_endpoint: AwsEndpoint) -> None:
    """What an import needs: arguments out of nothing but the id."""
    provider = configured(aws_endpoint, defaultTags='{"tags": {"all": "of them"}}')
    bucket = aws_endpoint.new_bucket()
    tags = [{"Key": "all", "Value": "of them"}, {"Key": "own", "Value": "1"}]
    aws_endpoint.client("s3").put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    read = asyncio.run(provider.read(protocol.ReadRequest(urn(BUCKET), bucket, {}, {})))
    assert read.resource_id == bucket
    assert values.to_properties(read.inputs) == {"bucket": bucket, "tags": {"own": "1"}}
    gone = asyncio.run(provider.read(protocol.ReadRequest(urn(BUCKET), "no-such-bucket", {}, {})))
    assert not gone.resource_id


def test_a_name_is_made_up_once(aws_endpoint: AwsEndpoint) -> None:
    provider = configured(aws_endpoint)

    def check(old: dict[str, Any]) -> dict[str, Any]:
        request = protocol.CheckRequest(urn(BUCKET), values.from_properties(old), {}, b"\x01\x02\x03\x04")
        response = asyncio.run(provider.check(request))
        assert not response.failures
        return values.to_properties(response.inputs or {})

    first = check({})
    assert first["bucket"] == "name-0102030"
    assert check({"bucket": "name-older12"}) == {"bucket": "name-older12"}


def test_a_bucket_of_somebody_else_is_not_adopted(aws_endpoint: AwsEndpoint) -> None:
    provider = configured(aws_endpoint)
    taken = aws_endpoint.new_bucket()
    request = protocol.CreateRequest(urn(BUCKET), values.from_properties({"bucket": taken}), 0, False)
    with pytest.raises(StandInError, match=f"bucket {taken} exists already"):
        asyncio.run(provider.create(request))


def test_a_bucket_with_objects_stays_without_force_destroy(aws_endpoint: AwsEndpoint) -> None:
    provider = configured(aws_endpoint)
    bucket = aws_endpoint.new_bucket()
    s3 = aws_endpoint.client("s3")
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    state: dict[str, Any] = {"bucket": bucket}
    with pytest.raises(StandInError, match="is not empty"):
        asyncio.run(
            provider.delete(protocol.DeleteRequest(urn(BUCKET), bucket, values.from_properties(state), 0))
        )
    assert s3.head_object(Bucket=bucket, Key="x")["ContentLength"] == 1
    state["forceDestroy"] = True
    asyncio.run(
        provider.delete(protocol.DeleteRequest(urn(BUCKET), bucket, values.from_properties(state), 0))
    )
    assert bucket not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


def test_an_account_that_is_not_allowed_is_refused(aws_endpoint: AwsEndpoint) -> None:
    with pytest.raises(StandInError, match="is not one this stack may be built in"):
        configured(aws_endpoint, allowedAccountIds='["000000000001"]')


def test_wrong_credentials_are_one_line(aws_endpoint: AwsEndpoint) -> None:
    with pytest.raises(StandInError) as caught:
        configured(aws_endpoint, secretKey="wrong")
    assert "refused GetCallerIdentity" in str(caught.value)
    assert "\n" not in str(caught.value)
