"""Stand-in for Razorpay's API (https://api.razorpay.com).

The shapes of orders, payments, collections and errors follow
https://razorpay.com/docs/api/orders/create/, .../api/payments/fetch-all/,
.../api/authentication/ and .../errors/; an unknown route answers 400 with
"The requested URL was not found on the server." as the real one does
(https://github.com/razorpay/razorpay-node/issues/136). It has the few routes
that the sample backend and the diagnosis use, keeps everything in memory, and
forgets the oldest orders beyond a limit.

Routes under ``/sandbox`` exist only here: ``POST /sandbox/orders/<id>/pay``
does what a customer does in Razorpay's checkout (who needs no secret for it),
answers with what checkout hands to the browser, and sends the webhooks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sandbox.services.jsonhttp import Request, Response
from sandbox.services.keys import KeysFile, RazorpayAccount
from sandbox.services.razorpay_shapes import (
    new_order,
    new_payment,
    no_such_id,
    not_found,
    order_problem,
    refusal,
)
from sandbox.services.webhooks import Deliveries, WebhookTarget

REMEMBERED_ORDERS = 20_000


@dataclass
class _Order:
    """An order, the account it belongs to, and its payments in the order they were tried."""

    key_id: str
    entity: dict[str, Any]
    payments: list[dict[str, Any]] = field(default_factory=list)


class _Pay(BaseModel):
    """Body of the sandbox's route for paying."""

    model_config = ConfigDict(extra="forbid")
    fail: bool = False
    webhook: WebhookTarget | None = None


class Razorpay:
    """The application: call it with requests."""

    def __init__(self, keys: KeysFile[RazorpayAccount], deliveries: Deliveries) -> None:
        self._keys = keys
        self._deliveries = deliveries
        self._lock = threading.Lock()
        self._orders: OrderedDict[str, _Order] = OrderedDict()

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.path.startswith("/sandbox/"):
            return self._sandbox(request)
        account = self._account(request)
        if account is None:
            return refusal(401, "Authentication failed")
        match [request.method, *request.path.strip("/").split("/")]:
            case ["POST", "v1", "orders"]:
                return self._create_order(account, request)
            case ["GET", "v1", "orders", order_id]:
                order = self._order(order_id, account)
                return Response(200, order.entity) if order else no_such_id()
            case ["GET", "v1", "orders", order_id, "payments"]:
                order = self._order(order_id, account)
                return self._collection(list(order.payments)) if order else no_such_id()
            case ["GET", "v1", "payments"]:
                return self._payments(account, request)
        return not_found()

    def _account(self, request: Request) -> RazorpayAccount | None:
        match = re.fullmatch(r"Basic ([A-Za-z0-9+/=]+)", request.headers.get("Authorization", ""))
        if not match:
            return None
        try:
            key_id, _, secret = base64.b64decode(match[1], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        for account in self._keys.entries().values():
            if account.key_id == key_id and hmac.compare_digest(account.key_secret.encode(), secret.encode()):
                return account
        return None

    def _order(self, order_id: str, account: RazorpayAccount) -> _Order | None:
        with self._lock:
            order = self._orders.get(order_id)
        return order if order and order.key_id == account.key_id else None

    def _create_order(self, account: RazorpayAccount, request: Request) -> Response:
        try:
            wanted = request.json()
        except ValueError:
            wanted = None
        problem = order_problem(wanted)
        if problem:
            description, name = problem
            return refusal(
                400, description, step="order_create", reason="input_validation_failed", field=name
            )
        entity = new_order(wanted)
        with self._lock:
            self._orders[entity["id"]] = _Order(account.key_id, entity)
            while len(self._orders) > REMEMBERED_ORDERS:
                self._orders.popitem(last=False)
        return Response(200, entity)

    def _payments(self, account: RazorpayAccount, request: Request) -> Response:
        try:
            count, skip = int(request.query.get("count", "10")), int(request.query.get("skip", "0"))
        except ValueError:
            return refusal(400, "The count must be an integer.", reason="input_validation_failed")
        if not 1 <= count <= 100 or skip < 0:
            return refusal(400, "The count must be between 1 and 100.", reason="input_validation_failed")
        with self._lock:
            mine = [p for o in self._orders.values() if o.key_id == account.key_id for p in o.payments]
        mine.sort(key=lambda payment: payment["created_at"], reverse=True)
        return self._collection(mine[skip : skip + count])

    @staticmethod
    def _collection(items: list[dict[str, Any]]) -> Response:
        return Response(200, {"entity": "collection", "count": len(items), "items": items})

    def _sandbox(self, request: Request) -> Response:
        match [request.method, *request.path.strip("/").split("/")]:
            case ["GET", "sandbox", "health"]:
                return Response(200, {"status": "ok", "accounts": sorted(self._keys.entries())})
            case ["GET", "sandbox", "webhooks"]:
                return Response(200, {"deliveries": self._deliveries.recent()})
            case ["POST", "sandbox", "orders", order_id, "pay"]:
                return self._pay(order_id, request)
        return not_found()

    def _pay(self, order_id: str, request: Request) -> Response:
        try:
            options = _Pay.model_validate(request.json())
        except ValidationError as error:
            return refusal(400, f"body: {error.errors(include_input=False)[0]['msg']}")
        except ValueError:
            return refusal(400, "the body is not JSON")
        with self._lock:
            order = self._orders.get(order_id)
            account = next(
                (a for a in self._keys.entries().values() if order and a.key_id == order.key_id), None
            )
            if order is None or account is None:
                return no_such_id()
            if order.entity["status"] == "paid":
                return refusal(
                    400, "Order already paid", step="payment_initiation", reason="order_already_paid"
                )
            payment = new_payment(order.entity, failed=options.fail)
            order.payments.append(payment)
            order.entity["attempts"] += 1
            if options.fail:
                order.entity["status"] = "attempted"
            else:
                order.entity.update(status="paid", amount_paid=payment["amount"], amount_due=0)
            snapshot = dict(order.entity)
        events = []
        if options.webhook:
            about: list[tuple[str, dict[str, Any]]] = (
                [("payment.failed", {"payment": payment})]
                if options.fail
                else [
                    ("payment.captured", {"payment": payment}),
                    ("order.paid", {"payment": payment, "order": snapshot}),
                ]
            )
            events = [
                self._deliveries.send(options.webhook, account.webhook_secret, name, entities)
                for name, entities in about
            ]
        if options.fail:
            return Response(200, {"razorpay_payment_id": payment["id"], "status": "failed", "events": events})
        signed = f"{order_id}|{payment['id']}".encode()
        return Response(
            200,
            {
                "razorpay_order_id": order_id,
                "razorpay_payment_id": payment["id"],
                "razorpay_signature": hmac.new(
                    account.key_secret.encode(), signed, hashlib.sha256
                ).hexdigest(),
                "events": events,
            },
        )
