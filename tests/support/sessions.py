"""Sessions of roles and MFA devices at the tests' AWS endpoint."""

from __future__ import annotations

import time
from typing import Any

from sandbox.aws_endpoint import mfa
from tests.support.aws import AwsEndpoint, AwsUser


def session(endpoint: AwsEndpoint, caller: AwsUser, role_arn: str, service: str, **how: Any) -> Any:
    """A client of a role that ``caller`` has taken; ``how`` goes to AssumeRole."""
    keys = caller.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="tests", **how)["Credentials"]
    return endpoint.client(
        service, keys["AccessKeyId"], keys["SecretAccessKey"], session_token=keys["SessionToken"]
    )


def new_device(endpoint: AwsEndpoint, user: AwsUser) -> tuple[str, str]:
    """Serial number and seed of a virtual MFA device that is not yet the user's."""
    device = endpoint.client("iam").create_virtual_mfa_device(VirtualMFADeviceName=user.name)
    return device["VirtualMFADevice"]["SerialNumber"], device["VirtualMFADevice"]["Base32StringSeed"].decode()


def codes_now(seed: str) -> tuple[str, str]:
    """The code of this moment and the next one."""
    step = int(time.time()) // mfa.STEP_SECONDS
    return mfa.code(seed, step), mfa.code(seed, step + 1)
