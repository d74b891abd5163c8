"""The policy that keys of different purposes share."""

from __future__ import annotations

from infra.documents import Document, deny, document

#: The use of a key for data, as opposed to its administration.
KEY_USE = ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")


def through_one_service(sid: str, service: str, *, account_id: str, region: str) -> Document:
    """A key that the account's IAM administers and that is used through one service only.

    Args:
        sid: name of the refusal of every other use.
        service: as ``s3``.
        account_id: the account that owns the key; its IAM policies decide who administers it.
        region: of the key.
    """
    return document(
        [
            {
                "Sid": "AccountAdministers",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account_id}:root"},
                "Action": "kms:*",
                "Resource": "*",
            },
            # A negated operator is true without the key, so a direct call is refused as well.
            deny(
                sid,
                KEY_USE,
                "*",
                {"StringNotEquals": {"kms:ViaService": f"{service}.{region}.amazonaws.com"}},
            ),
        ]
    )
