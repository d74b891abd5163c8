"""Sections ``[atlas]`` of ``steward.toml`` and of the secrets file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from steward.strict import Strict

Text = Annotated[str, Field(min_length=1)]


class AtlasSettings(Strict):
    """``[atlas]``: the cluster, where the application's database is one of Atlas."""

    #: Atlas calls it ``groupId``.
    project_id: Annotated[str, Field(pattern=r"^[a-f0-9]{24}$")]
    cluster: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9-]*$")]
    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/?#@]+/?$")] = "https://cloud.mongodb.com"
    ca_file: Annotated[Path, Field(strict=False)] | None = None
    #: A snapshot that takes longer has failed.
    timeout_minutes: Annotated[int, Field(ge=1, le=1440)] = 180


class AtlasLogin(Strict):
    """``[atlas]`` of the secrets file: a service account, or an API key."""

    client_id: Text | None = None
    client_secret: SecretStr | None = None
    public_key: Text | None = None
    private_key: SecretStr | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        account = (self.client_id, self.client_secret)
        key = (self.public_key, self.private_key)
        if (None in account) == (None in key) or any(account) != all(account) or any(key) != all(key):
            raise ValueError("needs client_id and client_secret, or public_key and private_key")
        return self
