"""The client of UptimeRobot's API against a server that follows the vendor's description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from infra.uptimerobot_api import (
    ATTEMPTS,
    LONGEST_WAIT_S,
    Client,
    Monitor,
    UptimeRobotError,
    from_environment,
)
from tests.support.uptimerobot import KEY, UptimeRobot, serve

WANTED = Monitor(
    name="shop-production-uptime",
    url="https://api.shop.example/api/health",
    keyword='"status":"ok"',
    interval_s=300,
    contacts=("oncall@shop.example",),
)


@pytest.fixture
def account() -> Iterator[UptimeRobot]:
    with serve() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(account: UptimeRobot, waits: list[float]) -> Client:
    return Client(KEY, account.url, sleep=waits.append)


def test_a_monitor_lives_through_create_read_update_and_delete(client: Client, account: UptimeRobot) -> None:
    number = client.create(WANTED)
    assert client.read(number) == WANTED
    made = account.monitors[int(number)]
    assert made["httpMethodType"] == "GET", "a HEAD answer has no body to search"
    assert made["keywordType"] == "ALERT_NOT_EXISTS"
    assert made["keywordCaseType"] == 0
    assert made["assignedAlertContacts"] == [{"alertContactId": 11, "threshold": 0, "recurrence": 0}]

    later = replace(WANTED, keyword="fine", interval_s=60, url="https://www.shop.example/api/health")
    client.update(number, later)
    assert client.read(number) == later

    client.delete(number)
    assert client.read(number) is None
    client.delete(number)
    assert account.monitors == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("keywordValue", "x"),
        ("interval", 60),
        ("url", "https://elsewhere.example/"),
        ("status", "PAUSED"),
        ("httpMethodType", "HEAD"),
        ("keywordType", "ALERT_EXISTS"),
        ("keywordCaseType", 1),
        ("assignedAlertContacts", []),
        ("friendlyName", "renamed"),
    ],
)
def test_a_change_by_hand_is_seen_and_undone(
    client: Client, account: UptimeRobot, name: str, value: object
) -> None:
    number = client.create(WANTED)
    account.monitors[int(number)][name] = value
    assert client.read(number) != WANTED
    client.update(number, WANTED)
    assert client.read(number) == WANTED


def test_a_creation_whose_answer_was_lost_does_not_leave_a_second_monitor(
    client: Client, account: UptimeRobot
) -> None:
    account.make({"friendlyName": WANTED.name + "-of-another", "type": "KEYWORD"})
    account.after_post = 502
    with pytest.raises(UptimeRobotError, match=r"POST /v3/monitors: 502"):
        client.create(WANTED)
    assert len([r for r in account.requests if r.startswith("POST")]) == 1, "a POST is not sent again"
    account.after_post = 0
    number = client.create(WANTED)
    assert client.read(number) == WANTED
    assert len(account.monitors) == 2


def test_an_address_that_nobody_confirmed_is_an_error_before_anything_is_made(
    client: Client, account: UptimeRobot
) -> None:
    with pytest.raises(
        UptimeRobotError, match=r"no active alert contact new@shop\.example, nobody@x\.example"
    ):
        client.create(
            replace(WANTED, contacts=("oncall@shop.example", "nobody@x.example", "new@shop.example"))
        )
    assert account.monitors == {}


def test_it_waits_as_long_as_it_is_told(client: Client, account: UptimeRobot, waits: list[float]) -> None:
    account.failures = [
        (429, {"Retry-After": "37"}),
        (429, {"Retry-After": "86400"}),
        (429, {"Retry-After": "soon"}),
    ]
    client.create(WANTED)
    assert waits == [37.0, LONGEST_WAIT_S, 8.0]
    assert len(account.monitors) == 1


def test_it_gives_up(client: Client, account: UptimeRobot, waits: list[float]) -> None:
    account.failures = [(429, {"Retry-After": "1"})] * 20
    with pytest.raises(UptimeRobotError, match="429 not now"):
        client.create(WANTED)
    assert len(account.requests) == ATTEMPTS
    assert len(waits) == ATTEMPTS - 1


def test_a_failing_server_is_asked_again_unless_that_could_do_harm(
    client: Client, account: UptimeRobot, waits: list[float]
) -> None:
    account.failures = [(503, {}), (500, {})]
    number = client.create(WANTED)
    assert waits == [2.0, 4.0]
    account.failures = [(500, {})]
    client.delete(number)
    assert account.monitors == {}


def test_a_server_that_does_not_answer_is_one_line_without_the_key() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    waits: list[float] = []
    dead = Client(KEY, sleep=waits.append, transport=httpx.MockTransport(refuse))
    with pytest.raises(UptimeRobotError) as caught:
        dead.read("1")
    assert str(caught.value) == "UptimeRobot GET /monitors/1: ConnectError: connection refused"
    assert len(waits) == ATTEMPTS - 1
    assert KEY not in str(caught.value)


def test_a_creation_without_an_answer_is_not_sent_again() -> None:
    sent: list[str] = []

    def lose_posts(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        if request.method == "POST":
            raise httpx.ReadTimeout("timed out", request=request)
        return httpx.Response(200, json={"data": []} if request.url.path.endswith("monitors") else [])

    waits: list[float] = []
    client = Client(KEY, sleep=waits.append, transport=httpx.MockTransport(lose_posts))
    with pytest.raises(UptimeRobotError, match="POST /monitors: ReadTimeout"):
        client.create(replace(WANTED, contacts=()))
    assert sent.count("POST") == 1
    assert waits == []


def test_a_wrong_key_is_one_line_that_names_the_variable(account: UptimeRobot) -> None:
    with pytest.raises(UptimeRobotError) as caught:
        Client("other", account.url).create(WANTED)
    assert "401 Unauthorized; is UPTIMEROBOT_API_KEY a key that may write?" in str(caught.value)
    assert "other" not in str(caught.value)


def test_an_answer_that_is_no_json_is_one_line() -> None:
    page = httpx.MockTransport(lambda _request: httpx.Response(200, text="<html>login</html>"))
    with pytest.raises(UptimeRobotError, match="answered something that is not JSON"):
        Client(KEY, transport=page).read("1")


def test_the_environment_must_have_a_key() -> None:
    with pytest.raises(UptimeRobotError, match="UPTIMEROBOT_API_KEY is not set"):
        from_environment({})


def test_the_server_of_these_tests_refuses_what_the_api_does_not_have(account: UptimeRobot) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    good = {
        "type": "KEYWORD",
        "friendlyName": "a",
        "url": "https://a.example",
        "interval": 60,
        "timeout": 30,
        "keywordType": "ALERT_NOT_EXISTS",
        "keywordCaseType": "CaseSensitive",
        "keywordValue": "x",
    }
    for name, value in [
        ("name", "a"),
        ("keywordCaseType", 0),
        ("interval", 5),
        ("keywordType", "exists"),
        ("assignedAlertContacts", [{"id": 1}]),
    ]:
        answer = httpx.post(f"{account.url}/monitors", headers=headers, json={**good, name: value})
        assert answer.status_code == 400, name
    for name in good:
        body = {key: value for key, value in good.items() if key != name}
        assert httpx.post(f"{account.url}/monitors", headers=headers, json=body).status_code == 400, name
    assert httpx.post(f"{account.url}/monitors", headers=headers, json=good).status_code == 201
