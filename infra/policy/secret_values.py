"""No secret enters Pulumi: it keeps what it is given in its state."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.policy.model import Rule, Stack, Violation, strings

#: Types whose outputs are secrets.
TYPES = frozenset({"aws:iam/accessKey:AccessKey", "aws:iam/userLoginProfile:UserLoginProfile"})

#: Arguments that hold a secret, in lower case, at any depth.
ARGUMENTS = frozenset(
    {
        "accesskey",
        "apikey",
        "apitoken",
        "authtoken",
        "clientsecret",
        "masterpassword",
        "password",
        "privatekey",
        "secretaccesskey",
        "secretbinary",
        "secretkey",
        "secretstring",
        "secretstringwo",
        "token",
    }
)

#: What a secret looks like wherever it stands: an access key's id, a private key, a password in a URL.
LOOKS = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----|\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@"
)


def _no_values(stack: Stack) -> Iterator[Violation]:
    for resource in stack.resources:
        if resource.type in TYPES:
            yield Violation(resource, "puts a secret into the state")
        for path, text in strings(resource.properties):
            argument = re.sub(r"\[\d+\]$", "", path).rpartition(".")[2].lower()
            if (argument in ARGUMENTS and text) or LOOKS.search(text):
                yield Violation(resource, f"holds a secret value in {path}")


RULES = (
    Rule(
        "no-secret-values",
        "No argument holds a secret.",
        "Pulumi keeps arguments in its state, and whoever reads that has them.",
        "register the secret alone and put its value outside of Pulumi, see docs/aws.md",
        _no_values,
        of_inputs=True,
    ),
)
