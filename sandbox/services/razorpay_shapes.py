"""Shapes of Razorpay's entities and errors; :mod:`sandbox.services.razorpay` names their sources."""

from __future__ import annotations

import secrets
import string
import time
from typing import Any

from sandbox.services.jsonhttp import Response

MINIMUM_AMOUNT = 100  # paise
RECEIPT_LENGTH = 40
ORDER_MEMBERS = {"amount", "currency", "receipt", "notes", "partial_payment"}

_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """An id as Razorpay makes them: a prefix and 14 letters or digits."""
    return f"{prefix}_" + "".join(secrets.choice(_ALPHABET) for _ in range(14))


def refusal(
    status: int, description: str, *, step: str = "NA", reason: str = "NA", field: str = ""
) -> Response:
    """An error in Razorpay's shape."""
    error: dict[str, Any] = {
        "code": "BAD_REQUEST_ERROR",
        "description": description,
        "source": "NA" if step == "NA" else "business",
        "step": step,
        "reason": reason,
        "metadata": {},
    }
    return Response(status, {"error": {**error, "field": field} if field else error})


def not_found() -> Response:
    """The answer to a route that is not there."""
    return refusal(400, "The requested URL was not found on the server.")


def no_such_id() -> Response:
    """The answer about an order that is not there, or is another account's."""
    return refusal(
        400, "The id provided does not exist", step="payment_initiation", reason="input_validation_failed"
    )


def order_problem(wanted: Any) -> tuple[str, str] | None:
    """What Razorpay would refuse about a new order: (description, member)."""
    if not isinstance(wanted, dict):
        return "The request body is not valid JSON.", ""
    for name in sorted(set(wanted) - ORDER_MEMBERS):
        return f"{name} is/are not required and should not be sent", name
    amount = wanted.get("amount")
    if amount is None:
        return "The amount field is required.", "amount"
    if isinstance(amount, bool) or not isinstance(amount, int):
        return "The amount must be an integer.", "amount"
    if amount < MINIMUM_AMOUNT:
        return "Order amount less than minimum amount allowed", "amount"
    if wanted.get("currency") != "INR":
        return "Currency is not supported", "currency"
    receipt = wanted.get("receipt")
    if receipt is not None and (not isinstance(receipt, str) or len(receipt) > RECEIPT_LENGTH):
        return f"The receipt may not be greater than {RECEIPT_LENGTH} characters.", "receipt"
    return None


def new_order(wanted: dict[str, Any]) -> dict[str, Any]:
    """The entity of an order that was just made."""
    return {
        "id": new_id("order"),
        "entity": "order",
        "amount": wanted["amount"],
        "amount_paid": 0,
        "amount_due": wanted["amount"],
        "currency": wanted["currency"],
        "receipt": wanted.get("receipt"),
        "offer_id": None,
        "status": "created",
        "attempts": 0,
        "notes": wanted.get("notes") or [],
        "created_at": int(time.time()),
    }


def new_payment(order: dict[str, Any], *, failed: bool) -> dict[str, Any]:
    """A payment of the whole order by UPI; the fee is 2 % plus 18 % tax on it."""
    fee = 0 if failed else round(order["amount"] * 0.0236)
    return {
        "id": new_id("pay"),
        "entity": "payment",
        "amount": order["amount"],
        "currency": order["currency"],
        "status": "failed" if failed else "captured",
        "order_id": order["id"],
        "invoice_id": None,
        "international": False,
        "method": "upi",
        "amount_refunded": 0,
        "refund_status": None,
        "captured": not failed,
        "description": None,
        "card_id": None,
        "bank": None,
        "wallet": None,
        "vpa": "customer@upi",
        "email": "customer@example.test",
        "contact": "+919000000000",
        "notes": [],
        "fee": fee,
        "tax": round(fee * 18 / 118),
        "error_code": "BAD_REQUEST_ERROR" if failed else None,
        "error_description": "Payment failed" if failed else None,
        "error_source": "customer" if failed else None,
        "error_step": "payment_authentication" if failed else None,
        "error_reason": "payment_failed" if failed else None,
        "created_at": int(time.time()),
    }
