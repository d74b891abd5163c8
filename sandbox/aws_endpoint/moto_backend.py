"""moto in this process: its settings, its state, and the lock around it.

moto 5.2.5 keeps everything in plain dictionaries and was not written for
threads, so every call into it happens under :data:`LOCK`. Bodies are received
and sent outside of it.
"""

from __future__ import annotations

import os
import threading
from importlib.metadata import version
from typing import Any

#: The version whose internals this package was written against.
MOTO_VERSION = "5.2.5"
ACCOUNT = "123456789012"

# Read by moto when it is imported: buckets are always in the path (this layer rewrites host names),
# no CORS headers, objects above 1 MiB on disk.
os.environ.update(
    S3_IGNORE_SUBDOMAIN_BUCKETNAME="true",
    MOTO_DISABLE_GLOBAL_CORS="true",
    MOTO_S3_DEFAULT_KEY_BUFFER_SIZE=str(1024 * 1024),
    MOTO_ACCOUNT_ID=ACCOUNT,
)

LOCK = threading.RLock()


def load() -> Any:
    """moto's WSGI application, patched; importing the services takes a second or two.

    Raises:
        RuntimeError: when another version of moto is installed.
    """
    found = version("moto")
    if found != MOTO_VERSION:
        raise RuntimeError(
            f"moto {found} is installed, this endpoint needs {MOTO_VERSION}: install the locked requirements"
        )
    from moto.iam.access_control import PermissionResult
    from moto.iam.models import User
    from moto.iam.responses import IamResponse
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import FakeBucket, FakeKey

    from sandbox.aws_endpoint import boundaries, storage

    # moto evaluates bucket policies itself, without their conditions; the layer has done it already.
    FakeBucket.get_permission = lambda *_args: PermissionResult.NEUTRAL  # type: ignore[method-assign]
    storage.install(FakeKey)
    boundaries.install(User, IamResponse)
    app = DomainDispatcherApplication(create_backend_app)
    for service in ("s3", "iam", "sts", "kms", "secretsmanager"):
        app.app_instances[service] = create_backend_app(service)
    return app


def s3() -> Any:
    """The S3 backend."""
    from moto.s3.models import s3_backends

    return s3_backends[ACCOUNT]["aws"]


def iam() -> Any:
    """The IAM backend."""
    from moto.iam.models import iam_backends

    return iam_backends[ACCOUNT]["aws"]


def sts() -> Any:
    """The STS backend."""
    from moto.sts.models import sts_backends

    return sts_backends[ACCOUNT]["aws"]


def kms(region: str) -> Any:
    """The KMS backend of a region."""
    from moto.kms.models import kms_backends

    return kms_backends[ACCOUNT][region]


def bucket(name: str) -> Any:
    """A bucket, or None."""
    return s3().buckets.get(name)


def kms_key(reference: str, region: str) -> Any:
    """A KMS key by id, ARN or alias, or None."""
    if reference.startswith("arn:"):
        region = reference.split(":")[3] or region
    backend = kms(region)
    try:
        return backend.keys.get(backend.any_id_to_key_id(reference))
    except KeyError:
        return None


def secret(reference: str, region: str) -> Any:
    """A secret by name or ARN, or None."""
    from moto.secretsmanager.models import secretsmanager_backends

    return secretsmanager_backends[ACCOUNT][region].secrets.get(reference)
