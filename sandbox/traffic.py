"""Writes users, orders and payments through a backend's public API.

The names of the sandbox's applications are in no DNS, so the connection goes to
``--connect``, while TLS is checked for the name in the URL. The same seed makes
the same users and orders; what is there already is not made twice.

    python -m sandbox.traffic --url https://bitesbay.steward.test --connect 10.77.0.11 \\
        --ca .sandbox/up/ca/ca.pem --orders 50 --seed 1
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sandbox import settings
from sandbox.customers import Customers, Result, TrafficError
from sandbox.services.pinned import UnreachableError

#: Orders started in a second, at most.
ORDERS_PER_SECOND = 40.0
WORKERS = 4


def run(
    url: str,
    *,
    orders: int,
    seed: int,
    connect: str | None = None,
    ca_file: Path | None = None,
    razorpay_url: str | None = None,
    inbox_url: str | None = None,
    users: int | None = None,
    workers: int = WORKERS,
    rate: float = ORDERS_PER_SECOND,
    stop: threading.Event | None = None,
) -> Result:
    """Write ``orders`` orders of some users; no request is repeated, every failure is counted.

    Args:
        url: ``https://name`` of the backend.
        orders: how many; the run is over then, or when ``stop`` is set.
        seed: makes users and orders repeatable.
        connect: address of the host to connect to.
        ca_file: certificate authorities that are trusted (PEM).
        razorpay_url: the stand-in; default this sandbox's.
        inbox_url: the mail sink's view; default this sandbox's.
        users: how many users; default one for ten orders, 1 to 20.
        workers: requests at the same time.
        rate: orders started in a second, at most.
        stop: ends the run early when it is set.

    Returns:
        The result; a backend that cannot be used at all is one error in it.
    """
    sandbox = settings.current()
    customers = Customers(
        url,
        seed=seed,
        connect=connect,
        ca_file=ca_file,
        razorpay_url=razorpay_url or sandbox.razorpay_url,
        inbox_url=inbox_url or sandbox.smtp_inbox_url,
        workers=workers,
    )
    began = time.monotonic()
    stop = stop or threading.Event()
    expected = (TrafficError, UnreachableError, KeyError, TypeError)
    try:
        menu = [item["sku"] for item in customers.call("GET", "/api/menu").content["items"]]
        wanted = users or max(1, min(20, orders // 10))
        with ThreadPoolExecutor(max_workers=workers) as pool:
            tokens = list(pool.map(customers.user, range(wanted)))
    except expected as error:
        customers.fail("users", error)
        return customers.finish(began)

    started = time.monotonic()

    def one(number: int) -> None:
        if stop.wait(max(0.0, started + number / rate - time.monotonic())):
            return
        try:
            customers.order(number, menu, tokens[number % len(tokens)])
        except expected as error:
            customers.fail(f"order {number}", error)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        # The iterator is read to its end, so an error of this program itself is raised here.
        list(pool.map(one, range(orders)))
    try:
        customers.settle()
    except expected as error:
        customers.fail("webhooks", error)
    return customers.finish(began)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 0, or 3 when something was not taken."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.traffic", description="Writes orders through the API."
    )
    parser.add_argument("--url", required=True, help="https://name of the backend")
    parser.add_argument("--connect", help="address to connect to instead of the name's")
    parser.add_argument("--ca", type=Path, help="certificate authorities that are trusted (PEM)")
    parser.add_argument("--orders", type=_positive, default=50)
    parser.add_argument("--users", type=_positive)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=ORDERS_PER_SECOND, help="orders a second, at most")
    parser.add_argument("--razorpay-url", help="default: this sandbox's stand-in")
    parser.add_argument("--inbox-url", help="default: this sandbox's mail sink")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.rate <= 0:
        parser.error("--rate: must be more than 0")
    if options.ca and not options.ca.is_file():
        parser.error(f"--ca: {options.ca} is not a file")
    try:
        result = run(
            options.url,
            orders=options.orders,
            seed=options.seed,
            connect=options.connect,
            ca_file=options.ca,
            razorpay_url=options.razorpay_url,
            inbox_url=options.inbox_url,
            users=options.users,
            rate=options.rate,
        )
    except ValueError as error:
        parser.error(str(error))
    if options.json:
        sys.stdout.write(json.dumps(dataclasses.asdict(result)) + "\n")
    else:
        sys.stdout.write(
            f"{result.orders_created} orders made ({result.orders_existing} were there),"
            f" {result.payments} paid, {result.cancelled} cancelled; {result.users_created} users made;"
            f" {result.requests} requests in {result.seconds} s, p95 {result.latency_ms.get('p95', 0)} ms;"
            f" {result.errors} errors\n"
        )
        for text in result.error_texts:
            sys.stderr.write(f"{text}\n")
    return 3 if result.errors else 0


if __name__ == "__main__":
    sys.exit(main())
