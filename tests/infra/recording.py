"""A recording monitor instead of an engine: what a component registers, as plain values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import mocks

from infra.config import StackConfig
from infra.estate import build
from sandbox.aws_plugin.values import to_properties

ACCOUNT = "123456789012"
CALLER = f"arn:aws:iam::{ACCOUNT}:user/admin"

#: Answers of the functions that components may call.
CALLS = {
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": {
        "member": "serviceAccount:storage-agent"
    },
    "gcp:storage/getTransferProjectServiceAccount:getTransferProjectServiceAccount": {
        "member": "serviceAccount:transfer-agent",
        "subjectId": "100200300",
    },
}

#: Outputs of types other than those of AWS that their provider computes.
COMPUTED: dict[str, dict[str, Any]] = {
    "gcp:storage/transferJob:TransferJob": {"name": "transferJobs/7876"},
    "mongodbatlas:index/cloudProviderAccessSetup:CloudProviderAccessSetup": {
        "roleId": "atlas-role",
        "awsConfigs": [
            {
                "atlasAwsAccountArn": "arn:aws:iam::210987654321:root",
                "atlasAssumedRoleExternalId": "external",
            }
        ],
    },
    "mongodbatlas:index/cloudBackupSnapshotExportBucket:CloudBackupSnapshotExportBucket": {
        "exportBucketId": "export-bucket",
    },
}


def arn(type_: str, inputs: dict[str, Any]) -> str:
    """An ARN as AWS would make it, for the types whose ARN goes into documents."""
    region = inputs.get("region") or "us-east-1"
    kind = type_.split(":")[-1]
    name = inputs.get("name") or inputs.get("bucket") or "x"
    path = inputs.get("path") or "/"
    forms = {
        "Bucket": f"arn:aws:s3:::{name}",
        "Key": f"arn:aws:kms:{region}:{ACCOUNT}:key/k",
        "User": f"arn:aws:iam::{ACCOUNT}:user{path}{name}",
        "Role": f"arn:aws:iam::{ACCOUNT}:role{path}{name}",
        "Policy": f"arn:aws:iam::{ACCOUNT}:policy{path}{name}",
        "Topic": f"arn:aws:sns:{region}:{ACCOUNT}:{name}",
        "MetricAlarm": f"arn:aws:cloudwatch:{region}:{ACCOUNT}:alarm:{name}",
    }
    return forms.get(kind, f"arn:aws:{type_.split(':')[1].split('/')[0]}:{region}:{ACCOUNT}:{kind}/{name}")


def _names(urns: Iterable[str]) -> frozenset[str]:
    return frozenset(urn.split("::")[-1] for urn in urns)


class Answers(mocks.Mocks):
    """Outputs that a provider would compute."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if not args.typ.startswith("aws:"):
            return f"{args.name}-id", {**args.inputs, **COMPUTED.get(args.typ, {})}
        made = {"arn": arn(args.typ, args.inputs), "keyId": "k"}
        return f"{args.name}-id", {**made, **args.inputs}  # a policy's arn is the one it was given

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        if args.token not in CALLS:
            raise AssertionError(f"the component calls {args.token}")
        return CALLS[args.token], []


@dataclass(frozen=True)
class Registered:
    """One resource as the engine would see it."""

    type: str
    name: str
    inputs: dict[str, Any]
    protect: bool
    dependencies: frozenset[str]
    parent: str
    provider: str
    aliases: tuple[str, ...]
    property_dependencies: dict[str, frozenset[str]]


class Recorder(mocks.MockMonitor):
    """Keeps every registration, with the options that the SDK's mocks hide."""

    def __init__(self) -> None:
        super().__init__(Answers())
        self.seen: list[Registered] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        self.seen.append(
            Registered(
                request.type,
                request.name,
                to_properties(PropertyValue.unmarshal_map(request.object)),
                request.protect,
                _names(request.dependencies),
                request.parent.split("::")[-1],
                request.provider.split("::")[-2] if request.provider else "",
                tuple(alias.spec.name or alias.urn for alias in request.aliases),
                {k: _names(v.urns) for k, v in request.propertyDependencies.items()},
            )
        )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def record(stack: StackConfig, make: Callable[[], object]) -> list[Registered]:
    """All that ``make`` registers, in order; needs the fixture ``mocked_pulumi`` of conftest.py."""
    recorder = Recorder()
    mocks.set_mocks(Answers(), project="steward", stack=stack.name, preview=False, monitor=recorder)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def run() -> None:
        make()

    run()
    seen = [r for r in recorder.seen if r.type != "pulumi:pulumi:Stack"]
    assert seen, "nothing was registered"
    return seen


_ESTATES: dict[str, list[Registered]] = {}


def record_estate(stack: StackConfig) -> list[Registered]:
    """All that the program of a stack registers, as :func:`record` does; a stack is recorded once."""
    told = repr(stack)
    if told not in _ESTATES:
        _ESTATES[told] = record(stack, lambda: build(stack, ACCOUNT, CALLER))
    return copy.deepcopy(_ESTATES[told])
