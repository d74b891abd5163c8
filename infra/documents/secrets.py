"""Policies of a backend's secrets and of their key.

What the controller and engineers may do with them is for IAM of the account to say;
these say what nobody may.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.documents import Document, deny, document
from infra.documents.keys import through_one_service


def secret_policy(*, account_id: str, host_arns: Iterable[str]) -> Document:
    """Only refusals: hosts get secrets as files from the controller and never ask for them.

    Args:
        account_id: the account of the secret.
        host_arns: the hosts' identities.
    """
    return document(
        [
            deny(
                "HostsNeverAsk",
                "secretsmanager:*",
                "*",
                {"ArnEquals": {"aws:PrincipalArn": sorted(host_arns)}},
            ),
            deny(
                "OtherAccountsNever",
                "secretsmanager:*",
                "*",
                {
                    "StringNotEquals": {"aws:PrincipalAccount": account_id},
                    "Bool": {"aws:PrincipalIsAWSService": "false"},
                },
            ),
        ]
    )


def key_policy(*, account_id: str, region: str) -> Document:
    """The key's policy: administered by the account's IAM, used through Secrets Manager only."""
    return through_one_service(
        "UseThroughSecretsManagerOnly", "secretsmanager", account_id=account_id, region=region
    )
