"""What customers do with a backend: register, order, pay, cancel.

:mod:`sandbox.traffic` decides how many there are and how fast they are.
"""

from __future__ import annotations

import dataclasses
import random
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.services.pinned import Answer, PinnedClient

#: What becomes of the orders; the rest stays as it is created.
PAID_BY_CHECKOUT, PAID_BY_WEBHOOK, CANCELLED = 0.4, 0.2, 0.1
#: How long the webhooks of the last payments are waited for.
WEBHOOK_SECONDS = 30.0
#: How many errors are kept in words; all are counted.
KEPT_ERRORS = 20


class TrafficError(RuntimeError):
    """An answer that was not expected; the message is one line."""


@dataclasses.dataclass
class Result:
    """What was written, and how it went."""

    users_created: int = 0
    users_reused: int = 0
    orders_created: int = 0
    orders_existing: int = 0
    payments: int = 0
    cancelled: int = 0
    requests: int = 0
    errors: int = 0
    error_texts: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    #: Milliseconds of the backend's answers: p50, p95 and max.
    latency_ms: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def first_error(self) -> str | None:
        """The first error in words."""
        return self.error_texts[0] if self.error_texts else None


class Customers:
    """One run; all its methods may be called by several threads."""

    def __init__(
        self,
        url: str,
        *,
        seed: int,
        connect: str | None,
        ca_file: Path | None,
        razorpay_url: str,
        inbox_url: str,
        workers: int,
    ) -> None:
        self.seed = seed
        self._backend = PinnedClient(url, connect=connect, ca_file=ca_file, connections=workers)
        self._razorpay = PinnedClient(razorpay_url, connections=workers)
        self._inbox = PinnedClient(inbox_url)
        self._webhook = {
            "url": f"{url.rstrip('/')}/api/payments/webhook",
            "connect": connect,
            "ca_file": str(ca_file.resolve()) if ca_file else None,
        }
        self._lock = threading.Lock()
        self._latencies: list[float] = []
        self._events: set[str] = set()
        self.result = Result()

    def count(self, name: str) -> None:
        """Add one to a member of the result."""
        with self._lock:
            setattr(self.result, name, getattr(self.result, name) + 1)

    def fail(self, what: str, error: Exception) -> None:
        """Note an error."""
        with self._lock:
            self.result.errors += 1
            if len(self.result.error_texts) < KEPT_ERRORS:
                self.result.error_texts.append(f"{what}: {error}")

    def call(
        self,
        method: str,
        path: str,
        content: Any = None,
        *,
        token: str | None = None,
        key: str | None = None,
        accept: Sequence[int] = (200, 201),
    ) -> Answer:
        """One request to the backend.

        Raises:
            TrafficError: for a status that is not accepted.
            UnreachableError: when no answer came.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        began = time.monotonic()
        self.count("requests")
        answer = self._backend.request(method, path, content=content, headers=headers)
        with self._lock:
            self._latencies.append((time.monotonic() - began) * 1000)
        if answer.status not in accept:
            error = answer.content.get("error", {}) if isinstance(answer.content, dict) else {}
            detail = f"{error.get('code')}: {error.get('message')}" if error else "no JSON"
            raise TrafficError(f"{method} {path} answered {answer.status} ({detail})")
        return answer

    def user(self, number: int) -> str:
        """A token of the user with this number, who is made when needed."""
        address = f"customer-{self.seed}-{number}@example.test"
        login = {"email": address, "password": f"sandbox password {self.seed} {number}"}
        registration = {"name": f"Customer {number}", **login}
        created = self.call("POST", "/api/users", registration, accept=(201, 409))
        if created.status == 409:
            self.count("users_reused")
            session = self.call("POST", "/api/users/login", login)
        else:
            verification = {"email": address, "otp": self._mailed_code(address)}
            session = self.call("POST", "/api/users/verify", verification)
            self.count("users_created")
        return str(session.content["token"])

    def _mailed_code(self, address: str) -> str:
        messages = self._inbox.request("GET", f"/messages?to={address}&limit=1").content["messages"]
        code = re.search(r"code is (\d+)", messages[0]["text"]) if messages else None
        if code is None:
            raise TrafficError(f"no mail with a code came for {address}")
        return code[1]

    def order(self, number: int, menu: Sequence[str], token: str) -> None:
        """Make the order with this number, and pay or cancel it as its number decides."""
        choice = random.Random(f"{self.seed}:{number}")  # noqa: S311 - repeatable on purpose
        items = [
            {"sku": sku, "quantity": choice.randint(1, 4)}
            for sku in choice.sample(menu, choice.randint(1, 4))
        ]
        key = f"traffic-{self.seed}-{number}"
        answer = self.call("POST", "/api/orders", {"items": items}, token=token, key=key)
        self.count("orders_created" if answer.status == 201 else "orders_existing")
        order = answer.content["order"]
        if order["status"] != "created":
            return
        fate = choice.random()
        if fate < PAID_BY_CHECKOUT + PAID_BY_WEBHOOK:
            self._pay(order["id"], token, by_webhook=fate >= PAID_BY_CHECKOUT)
        elif fate < PAID_BY_CHECKOUT + PAID_BY_WEBHOOK + CANCELLED:
            self.call("POST", f"/api/orders/{order['id']}/status", {"status": "cancelled"}, token=token)
            self.count("cancelled")

    def _pay(self, order_id: str, token: str, *, by_webhook: bool) -> None:
        opened = self.call("POST", "/api/payments", {"order_id": order_id}, token=token)
        remote = opened.content["payment"]["razorpay_order_id"]
        options = {"webhook": self._webhook} if by_webhook else {}
        paid = self._razorpay.request("POST", f"/sandbox/orders/{remote}/pay", content=options)
        if paid.status != 200:
            raise TrafficError(f"Razorpay's stand-in answered {paid.status} to the payment of {remote}")
        events = paid.content.pop("events")
        if by_webhook:
            with self._lock:
                self._events.update(str(event) for event in events)
        else:
            self.call("POST", "/api/payments/verify", paid.content, token=token)
        self.count("payments")

    def settle(self) -> None:
        """Wait until every webhook of this run was delivered, so that nothing is written after the run.

        Raises:
            TrafficError: when one failed, or not all were in :data:`WEBHOOK_SECONDS`.
        """
        deadline = time.monotonic() + WEBHOOK_SECONDS
        while self._events:
            recent = self._razorpay.request("GET", "/sandbox/webhooks").content["deliveries"]
            for delivery in (d for d in recent if d["event_id"] in self._events):
                if not 200 <= (delivery["status"] or 0) < 300:
                    raise TrafficError(
                        f"webhook not taken: {delivery['status']} {delivery['error'] or ''}".rstrip()
                    )
                self._events.discard(delivery["event_id"])
            if self._events and time.monotonic() > deadline:
                raise TrafficError(f"{len(self._events)} webhooks were not delivered")
            if self._events:
                time.sleep(0.1)

    def finish(self, began: float) -> Result:
        """Close the connections and complete the result."""
        for client in (self._backend, self._razorpay, self._inbox):
            client.close()
        times = sorted(self._latencies)
        if times:
            at = {"p50": 0.5, "p95": 0.95, "max": 1.0}
            self.result.latency_ms = {
                k: round(times[min(len(times) - 1, int(len(times) * v))], 1) for k, v in at.items()
            }
        self.result.seconds = round(time.monotonic() - began, 2)
        return self.result
