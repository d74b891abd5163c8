"""One-time codes of virtual MFA devices: RFC 6238 with SHA-1, 30 seconds and six digits, as AWS uses.

``sts:AssumeRole`` takes a device's serial number and a code; only then has the request
``aws:MultiFactorAuthPresent``. ``sts:GetSessionToken``, the other way to show a device
to AWS, is refused: moto's answer is a fixed example key that opens nothing. Unlike AWS
a code can be used twice within its time.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Mapping
from typing import Any

from sandbox.aws_endpoint import moto_backend
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.identity import Identity

STEP_SECONDS = 30
DIGITS = 6


def code(seed: str, step: int) -> str:
    """The code of one step of 30 seconds; ``seed`` is in base 32."""
    digest = hmac.digest(base64.b32decode(seed), step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def _fits(seed: str, given: str, ahead: int = 0) -> bool:
    """Whether a code is of now or of the step before or after, as clocks differ."""
    now = int(time.time()) // STEP_SECONDS + ahead
    return any(hmac.compare_digest(code(seed, now + d), given) for d in (-1, 0, 1))


def check_enabling(parameters: Mapping[str, Any]) -> None:
    """Refuse to enable a device with codes that are not its own.

    Raises:
        AwsError: ``InvalidAuthenticationCode``.
    """
    device = moto_backend.iam().virtual_mfa_devices.get(parameters.get("SerialNumber"))
    if device is None:
        raise AwsError("NoSuchEntity", "Only virtual MFA devices can be enabled at this endpoint.", 404)
    seed = device.base32_string_seed
    first, second = (str(parameters.get(f"AuthenticationCode{n}", "")) for n in (1, 2))
    if not (_fits(seed, first) and _fits(seed, second, 1)) or first == second:
        raise AwsError("InvalidAuthenticationCode", "Authentication code for device is not valid.")


def shown(caller: Identity, parameters: Mapping[str, Any]) -> bool:
    """Whether a request shows a device of the caller.

    Raises:
        AwsError: ``AccessDenied`` when it tries to, and the device or the code is wrong.
    """
    serial, given = parameters.get("SerialNumber"), parameters.get("TokenCode")
    if serial is None and given is None:
        return False
    iam = moto_backend.iam()
    user = None if caller.admin or caller.kind != "User" else iam.get_user(caller.name)
    device = iam.virtual_mfa_devices.get(serial) if user and serial in user.mfa_devices else None
    if device is None or not _fits(device.base32_string_seed, str(given)):
        raise AwsError(
            "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code."
        )
    return True
