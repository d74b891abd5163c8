"""The provider's settings, and the AWS clients made from them.

Settings come from the stack (``aws:region``) or from an ``aws.Provider`` in the
program; both reach a provider plugin as strings, nested ones as JSON. What they do
not give comes from the environment, as with the genuine provider:
``AWS_ENDPOINT_URL``, ``AWS_REGION``, credentials, ``AWS_CA_BUNDLE``.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sandbox.aws_plugin import schema
from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.values import UNKNOWN, Plain, Properties

#: Settings that are carried out; the ``skip...`` ones have nothing to skip here.
CARRIED = frozenset(
    {
        "accessKey",
        "allowedAccountIds",
        "customCaBundle",
        "defaultTags",
        "endpoints",
        "forbiddenAccountIds",
        "maxRetries",
        "region",
        "s3UsePathStyle",
        "secretKey",
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "token",
    }
)

#: Settings of the engine itself that travel with the provider's own.
_OF_THE_ENGINE = frozenset({"version", "pluginDownloadURL"})

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30


def parse(given: Mapping[str, Plain]) -> Properties:
    """Decode the settings: everything that the SDK does not call a string is JSON.

    Raises:
        StandInError: when a setting is not the JSON it should be.
    """
    types = schema.fields(_arguments())
    parsed: Properties = {}
    for name, value in given.items():
        if name in _OF_THE_ENGINE:
            continue
        if isinstance(value, str) and types.get(name) is not str and name in types:
            try:
                value = json.loads(value)
            except ValueError as error:
                raise StandInError(f"provider setting {name}: not JSON: {value!r}") from error
        parsed[name] = value
    return parsed


def check(parsed: Properties) -> Iterator[schema.Problem]:
    """What is wrong with decoded settings, or beyond the stand-in."""
    yield from schema.check(_arguments(), parsed)
    for name in sorted(set(parsed) & set(schema.fields(_arguments())) - CARRIED):
        yield schema.Problem(name, "the stand-in does not do this provider setting")


def _arguments() -> type:
    from pulumi_aws import ProviderArgs

    return ProviderArgs


@dataclass
class Aws:
    """The endpoint as one configured provider sees it."""

    settings: Properties
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def region(self) -> str:
        """The region of resources that name none."""
        region = (
            self.settings.get("region")
            or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
        )
        if not region:
            raise StandInError("no AWS region; set aws:region in the stack file, or AWS_REGION")
        return str(region)

    @property
    def default_tags(self) -> dict[str, str]:
        """Tags that the provider adds to every resource."""
        return dict((self.settings.get("defaultTags") or {}).get("tags") or {})

    def endpoint(self, service: str) -> str:
        """Address of a service.

        Raises:
            StandInError: when none is set, or when it is AWS itself.
        """
        url: str | None = None
        for overrides in self.settings.get("endpoints") or []:
            url = url or overrides.get(service)
        url = (
            url or os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL")
        )
        if not url:
            raise StandInError(
                "AWS_ENDPOINT_URL is not set; the stand-in talks to a sandbox only, never to AWS"
            )
        host = urlsplit(url).hostname or ""
        if host == "amazonaws.com" or host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
            raise StandInError(f"{url} is AWS itself; install Pulumi's own AWS plugin for that")
        return url

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client with timeouts and retries; the same one for the same question."""
        # Imported late: the engine also starts the plugin just to ask for its version.
        import boto3
        from botocore.config import Config

        key = (service, region or self.region)
        with self._lock:  # making a client is not safe between threads, using one is
            if key not in self._clients:
                make: Any = boto3.client  # its overloads know only literal names
                self._clients[key] = make(
                    service,
                    region_name=key[1],
                    endpoint_url=self.endpoint(service),
                    aws_access_key_id=self.settings.get("accessKey"),
                    aws_secret_access_key=self.settings.get("secretKey"),
                    aws_session_token=self.settings.get("token"),
                    verify=self.settings.get("customCaBundle"),
                    config=Config(
                        connect_timeout=CONNECT_TIMEOUT_S,
                        read_timeout=READ_TIMEOUT_S,
                        retries={
                            "mode": "standard",
                            "total_max_attempts": int(self.settings.get("maxRetries") or 2) + 1,
                        },
                        s3={"addressing_style": "path" if self.settings.get("s3UsePathStyle") else "auto"},
                    ),
                )
            return self._clients[key]

    def identity(self) -> dict[str, str]:
        """Account, ARN and user id of the credentials, as STS tells them."""
        answer = self.client("sts").get_caller_identity()
        return {"accountId": answer["Account"], "arn": answer["Arn"], "userId": answer["UserId"]}

    def verify(self) -> None:
        """Ask the endpoint who we are, and check that against the accounts the settings allow."""
        account = self.identity()["accountId"]
        allowed = self.settings.get("allowedAccountIds") or []
        forbidden = self.settings.get("forbiddenAccountIds") or []
        if account in forbidden or (allowed and account not in allowed):
            raise StandInError(f"AWS account {account} is not one this stack may be built in")

    def all_tags(self, tags: Plain) -> Plain:
        """A resource's own tags over the provider's default ones."""
        return UNKNOWN if tags is UNKNOWN else {**self.default_tags, **(tags or {})}

    def own_tags(self, all_tags: Mapping[str, str]) -> dict[str, str]:
        """What remains of a resource's tags without the provider's default ones."""
        defaults = self.default_tags
        return {key: value for key, value in all_tags.items() if defaults.get(key) != value}
