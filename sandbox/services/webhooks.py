"""Delivery of signed webhooks, as Razorpay does it.

Shape of the body and the headers ``X-Razorpay-Signature`` (HMAC-SHA256 of the
raw body, hexadecimal) and ``X-Razorpay-Event-Id``:
https://razorpay.com/docs/webhooks/ and .../webhooks/validate-test/. An answer
other than 2xx within 5 seconds is a failure, and the same event is sent again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sandbox.services.pinned import PinnedClient, UnreachableError

#: Pauses before the second, third, ... try in seconds. Razorpay goes on for 24 hours; a sandbox does not.
RETRY_SECONDS: Sequence[float] = (0.5, 1, 2, 4, 8)
TIMEOUT_SECONDS = 5.0
#: How many deliveries are remembered, and how many may wait.
REMEMBERED = 5000
WAITING = 500


class WebhookTarget(BaseModel):
    """Where a merchant wants webhooks."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    connect: str | None = None
    ca_file: Path | None = None


class Deliveries:
    """Sends webhooks in the background; :meth:`close` drops those that still wait."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook")
        self._room = threading.BoundedSemaphore(WAITING)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._done: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    def send(self, target: WebhookTarget, secret: str, event: str, entities: dict[str, Any]) -> str | None:
        """Queue one event about ``entities`` (name -> entity).

        Returns:
            The event's id, or ``None`` when too many events wait already.
        """
        if not self._room.acquire(blocking=False):
            return None
        event_id = secrets.token_hex(7)
        body = json.dumps(
            {
                "entity": "event",
                "account_id": "acc_sandbox",
                "event": event,
                "contains": list(entities),
                "payload": {name: {"entity": entity} for name, entity in entities.items()},
                "created_at": int(time.time()),
            }
        ).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Razorpay-Event-Id": event_id,
            "X-Razorpay-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
        }
        self._pool.submit(self._deliver, target, event, event_id, body, headers)
        return event_id

    def recent(self) -> list[dict[str, Any]]:
        """The last deliveries, newest first."""
        with self._lock:
            return list(reversed(self._done))

    def close(self) -> None:
        """End at once."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _deliver(
        self, target: WebhookTarget, event: str, event_id: str, body: bytes, headers: dict[str, str]
    ) -> None:
        record: dict[str, Any] = {"event": event, "event_id": event_id, "url": target.url, "tries": 0}
        try:
            client = PinnedClient(
                target.url, connect=target.connect, ca_file=target.ca_file, read_seconds=TIMEOUT_SECONDS
            )
            for pause in (0.0, *RETRY_SECONDS):
                if self._stop.wait(pause):
                    break
                record["tries"] += 1
                try:
                    status = client.request("POST", "", body=body, headers=headers).status
                except UnreachableError as error:
                    record.update(status=None, error=str(error))
                    continue
                record.update(status=status, error=None)
                if 200 <= status < 300:
                    break
            client.close()
        except (ValueError, OSError) as error:  # a URL or CA file that cannot be used
            record.update(status=None, error=str(error))
        finally:
            self._room.release()
            with self._lock:
                self._done.append(record)
