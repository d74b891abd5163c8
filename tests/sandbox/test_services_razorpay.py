"""The stand-in for Razorpay: its shapes, its signatures, its webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.services import webhooks
from sandbox.services.jsonhttp import Request, Response
from sandbox.services.keys import KeysError, KeysFile, RazorpayAccount
from sandbox.services.pinned import Answer, PinnedClient
from sandbox.services.razorpay import Razorpay
from sandbox.services.webhooks import Deliveries
from tests.sandbox.services import serving, wait_for

KEYS = {
    "bitesbay": {"key_id": "rzp_test_b", "key_secret": "secret-b", "webhook_secret": "hook-b"},
    "kampyn": {"key_id": "rzp_test_k", "key_secret": "secret-k", "webhook_secret": "hook-k"},
}


class Merchant:
    """A client with one application's keys."""

    def __init__(self, url: str, app: str = "bitesbay") -> None:
        self.keys = KEYS[app]
        self.client = PinnedClient(url)

    def __call__(self, method: str, path: str, content: Any = None, *, login: str | None = None) -> Answer:
        pair = login or f"{self.keys['key_id']}:{self.keys['key_secret']}"
        headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return self.client.request(method, path, content=content, headers=headers)

    def order(self, amount: int = 12_345) -> dict[str, Any]:
        answer = self("POST", "/v1/orders", {"amount": amount, "currency": "INR", "receipt": "r1"})
        assert answer.status == 200, answer
        order: dict[str, Any] = answer.content
        return order


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(KEYS))
    return path


@pytest.fixture
def razorpay(keys_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(webhooks, "RETRY_SECONDS", (0.05, 0.05))
    deliveries = Deliveries()
    with serving(Razorpay(KeysFile(keys_file, RazorpayAccount), deliveries)) as url:
        yield url
    deliveries.close()


class Receiver:
    """Takes webhooks; answers with the statuses it is given, then with 200."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
            return Response(self.statuses.pop(0) if self.statuses else 200, {})


def test_an_order_has_the_documented_members(razorpay: str) -> None:
    merchant = Merchant(razorpay)
    order = merchant.order(50_000)
    assert set(order) == {
        "id", "entity", "amount", "amount_paid", "amount_due", "currency", "receipt",
        "offer_id", "status", "attempts", "notes", "created_at",
    }  # fmt: skip
    assert order["id"].startswith("order_")
    assert len(order["id"]) == len("order_") + 14
    assert (order["entity"], order["status"]) == ("order", "created")
    assert (order["amount"], order["amount_paid"], order["amount_due"]) == (50_000, 0, 50_000)
    assert merchant("GET", f"/v1/orders/{order['id']}").content == order


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"currency": "INR"}, "amount"),
        ({"amount": "100", "currency": "INR"}, "amount"),
        ({"amount": 99, "currency": "INR"}, "amount"),
        ({"amount": 1000, "currency": "EUR"}, "currency"),
        ({"amount": 1000, "currency": "INR", "receipt": "x" * 41}, "receipt"),
        ({"amount": 1000, "currency": "INR", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_order_is_refused_in_razorpays_shape(razorpay: str, order: object, field: str) -> None:
    answer = Merchant(razorpay)("POST", "/v1/orders", order)
    assert answer.status == 400
    error = answer.content["error"]
    assert error["code"] == "BAD_REQUEST_ERROR"
    assert (error["step"], error["reason"], error["field"]) == (
        "order_create",
        "input_validation_failed",
        field,
    )


@pytest.mark.parametrize("login", ["rzp_test_b:wrong", "nobody:secret-b", "rzp_test_b", ":"])
def test_wrong_keys_are_refused(razorpay: str, login: str) -> None:
    answer = Merchant(razorpay)("GET", "/v1/payments?count=1", login=login)
    assert answer.status == 401
    assert answer.content["error"]["description"] == "Authentication failed"


def test_an_unknown_route_is_refused_in_razorpays_shape(razorpay: str) -> None:
    answer = Merchant(razorpay)("GET", "/v1/refunds")
    assert answer.status == 400
    assert answer.content["error"]["description"] == "The requested URL was not found on the server."


def test_another_accounts_order_does_not_exist(razorpay: str) -> None:
    order = Merchant(razorpay).order()
    answer = Merchant(razorpay, "kampyn")("GET", f"/v1/orders/{order['id']}")
    assert answer.content["error"]["description"] == "The id provided does not exist"


def test_paying_gives_checkouts_signature_and_lists_the_payment(razorpay: str) -> None:
    merchant = Merchant(razorpay)
    order = merchant.order()
    paid = merchant("POST", f"/sandbox/orders/{order['id']}/pay").content
    signed = f"{order['id']}|{paid['razorpay_payment_id']}".encode()
    assert paid["razorpay_signature"] == hmac.new(b"secret-b", signed, hashlib.sha256).hexdigest()

    after = merchant("GET", f"/v1/orders/{order['id']}").content
    assert (after["status"], after["amount_paid"], after["amount_due"]) == ("paid", 12_345, 0)
    listed = merchant("GET", "/v1/payments?count=5").content
    assert (listed["entity"], listed["count"]) == ("collection", 1)
    assert listed["items"][0]["id"] == paid["razorpay_payment_id"]
    assert listed["items"][0]["status"] == "captured"
    assert Merchant(razorpay, "kampyn")("GET", "/v1/payments").content["count"] == 0
    assert merchant("POST", f"/sandbox/orders/{order['id']}/pay").status == 400  # only once
    assert merchant("GET", "/v1/payments?count=101").status == 400


def test_a_failed_payment_can_be_tried_again(razorpay: str) -> None:
    merchant = Merchant(razorpay)
    order = merchant.order()
    failed = merchant("POST", f"/sandbox/orders/{order['id']}/pay", {"fail": True}).content
    assert "razorpay_signature" not in failed
    assert merchant("GET", f"/v1/orders/{order['id']}").content["status"] == "attempted"
    assert merchant("POST", f"/sandbox/orders/{order['id']}/pay").status == 200
    assert merchant("GET", f"/v1/orders/{order['id']}/payments").content["count"] == 2


def test_webhooks_are_signed_and_sent_again_after_a_failure(razorpay: str) -> None:
    receiver = Receiver()
    receiver.statuses = [500]
    merchant = Merchant(razorpay)
    order = merchant.order()
    with serving(receiver) as url:
        target = {"url": f"{url}/api/payments/webhook"}
        events = merchant("POST", f"/sandbox/orders/{order['id']}/pay", {"webhook": target}).content["events"]
        wait_for("three requests", lambda: len(receiver.requests) == 3)
    assert {r.headers["X-Razorpay-Event-Id"] for r in receiver.requests} == set(events)
    for request in receiver.requests:
        assert request.path == "/api/payments/webhook"
        expected = hmac.new(b"hook-b", request.body, hashlib.sha256).hexdigest()
        assert request.headers["X-Razorpay-Signature"] == expected
    bodies = {body["event"]: body for body in (r.json() for r in receiver.requests)}
    assert bodies["payment.captured"]["payload"]["payment"]["entity"]["order_id"] == order["id"]
    assert bodies["order.paid"]["contains"] == ["payment", "order"]
    assert bodies["order.paid"]["payload"]["order"]["entity"]["status"] == "paid"


def test_a_webhook_nobody_takes_is_reported(razorpay: str) -> None:
    merchant = Merchant(razorpay)
    order = merchant.order()
    with serving(Receiver()) as url:
        gone = url
    merchant("POST", f"/sandbox/orders/{order['id']}/pay", {"fail": True, "webhook": {"url": gone}})

    def deliveries() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = merchant("GET", "/sandbox/webhooks").content["deliveries"]
        return found

    [delivery] = wait_for("the delivery", deliveries)
    assert delivery["event"] == "payment.failed"
    assert delivery["tries"] == 3
    assert delivery["status"] is None
    assert "refused" in delivery["error"]


def test_changed_keys_are_used_at_once_and_bad_ones_are_not(razorpay: str, keys_file: Path) -> None:
    merchant = Merchant(razorpay)
    rotated = {"bitesbay": {**KEYS["bitesbay"], "key_secret": "rotated"}}
    keys_file.write_text(json.dumps(rotated))
    assert merchant("GET", "/v1/payments").status == 401
    assert merchant("GET", "/v1/payments", login="rzp_test_b:rotated").status == 200
    keys_file.write_text("{")
    assert merchant("GET", "/v1/payments", login="rzp_test_b:rotated").status == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not JSON"),
        ('{"a": {"key_id": "x"}}', "a.key_secret: Field required"),
        (
            '{"a": {"key_id": "x", "key_secret": "hidden", "webhook_secret": "y", "more": "hidden"}}',
            "a.more: ",
        ),
    ],
)
def test_a_keys_file_that_is_wrong_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(KeysError) as caught:
        KeysFile(path, RazorpayAccount)
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_the_servers_limits(razorpay: str) -> None:
    client = PinnedClient(razorpay)
    answer = client.request("POST", "/v1/orders", body=b"x" * (1024 * 1024 + 1))
    assert answer.status == 413
    assert client.request("GET", "/sandbox/health").content["accounts"] == ["bitesbay", "kampyn"]
