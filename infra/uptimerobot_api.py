"""A client of UptimeRobot's API v3, as far as one keyword monitor needs it. No Pulumi.

Paths, fields and their values are those of the vendor's own description of the API
(openapi/openapi.yaml of github.com/uptimerobot/uptimerobot-cli, version 3.0: CreateKeywordMonitorDto,
UpdateMonitorDto, MonitorDto, AllAlertContactDto), limits and headers those of
https://uptimerobot.com/api/v3. Two things there are easy to miss: without ``httpMethodType``
a keyword monitor asks with HEAD, whose answer has no text to find; and ``keywordCaseType`` is
a word at creation but a number in updates and answers (0 is case-sensitive).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

API_URL = "https://api.uptimerobot.com/v3"
#: Environment variable with the API key: read when a request is made, never stored.
KEY_VARIABLE = "UPTIMEROBOT_API_KEY"
#: Environment variable with another address than :data:`API_URL`, for tests.
URL_VARIABLE = "UPTIMEROBOT_API_URL"

#: Seconds for one request, and to connect.
REQUEST_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
#: Times a request is sent at most, and the longest wait between two, in seconds. The free plan
#: allows 10 requests a minute, so a wait of a minute is not unusual.
ATTEMPTS = 5
LONGEST_WAIT_S = 120.0

#: Seconds the monitored address may take to answer; the API's own example, its maximum is 60.
CHECK_TIMEOUT_S = 30
#: Values of ``keywordCaseType`` outside of a creation.
CASE_SENSITIVE = 0
#: ``status`` of a contact that is told; the API has sent the word and, earlier, the number.
ACTIVE = ("Active", 2)


class UptimeRobotError(RuntimeError):
    """UptimeRobot cannot do what was asked; one line that never holds the key."""


@dataclass(frozen=True)
class Monitor:
    """A monitor that is down when its page lacks a text."""

    name: str
    url: str
    keyword: str
    interval_s: int
    contacts: tuple[str, ...]
    """E-mail addresses of active alert contacts of the account."""
    paused: bool = False
    """Only ever true of what is read: somebody stopped the checks by hand."""


class Client:
    """The monitors of the account that a key belongs to."""

    def __init__(
        self,
        key: str,
        url: str = API_URL,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=httpx.Timeout(REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
        )

    def create(self, monitor: Monitor) -> str:
        """Make the monitor; returns its id.

        A monitor of that name is taken over instead of made twice: a creation whose answer was lost
        must not leave a second one behind.
        """
        contacts = self._contact_ids(monitor.contacts)
        found = self._json("GET", "monitors", params={"name": monitor.name, "limit": 200})["data"]
        same = [m for m in found if m["friendlyName"] == monitor.name and m["type"] == "KEYWORD"]
        if same:
            self.update(str(same[0]["id"]), monitor)
            return str(same[0]["id"])
        body = {**_body(monitor, contacts), "keywordCaseType": "CaseSensitive"}
        return str(self._json("POST", "monitors", json=body)["id"])

    def read(self, monitor_id: str) -> Monitor | None:
        """The monitor as the account has it, ``None`` when it is gone."""
        answer = self._send("GET", f"monitors/{monitor_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        found = _decoded(answer)
        addresses = {number: address for address, number in self._contacts().items()}
        told = (str(c["alertContactId"]) for c in found["assignedAlertContacts"])
        keyword = str(found["keywordValue"] or "")
        # Another kind of question is another monitor; an impossible text makes it show up as a change.
        as_made = (
            found["type"] == "KEYWORD"
            and found["httpMethodType"] == "GET"
            and found["keywordType"] == "ALERT_NOT_EXISTS"
            and found["keywordCaseType"] == CASE_SENSITIVE
        )
        return Monitor(
            name=str(found["friendlyName"]),
            url=str(found["url"]),
            keyword=keyword if as_made else "",
            interval_s=int(found["interval"]),
            contacts=tuple(sorted(addresses.get(number, f"contact {number}") for number in told)),
            paused=found["status"] == "PAUSED",
        )

    def update(self, monitor_id: str, monitor: Monitor) -> None:
        """Bring the monitor to what is wanted, and let it run."""
        body = {**_body(monitor, self._contact_ids(monitor.contacts)), "keywordCaseType": CASE_SENSITIVE}
        if self._json("PATCH", f"monitors/{monitor_id}", json=body)["status"] == "PAUSED":
            self._json("POST", f"monitors/{monitor_id}/start", json={})

    def delete(self, monitor_id: str) -> None:
        """Remove the monitor; one that is gone already is fine."""
        answer = self._send("DELETE", f"monitors/{monitor_id}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            _check(answer)

    def _contacts(self) -> dict[str, str]:
        """Address -> id of every contact that is told, of the key's owner and of the team."""
        groups = self._json("GET", "user/all-alert-contacts")
        return {
            str(contact["value"]).casefold(): str(contact["id"])
            for group in groups
            for contact in group["alertContacts"]
            if contact["status"] in ACTIVE
        }

    def _contact_ids(self, addresses: tuple[str, ...]) -> list[int]:
        known = self._contacts()
        missing = sorted(a for a in addresses if a.casefold() not in known)
        if missing:
            raise UptimeRobotError(
                f"UptimeRobot has no active alert contact {', '.join(missing)};"
                " add it in the account, confirm it and run this again"
            )
        return sorted(int(known[a.casefold()]) for a in addresses)

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return _decoded(self._send(method, path, **options))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; sent again when UptimeRobot asks for patience or, without harm, when it fails.

        A POST whose outcome is unknown is not sent again: the monitor may exist already.
        """
        for attempt in range(1, ATTEMPTS + 1):
            wait = min(2.0**attempt, LONGEST_WAIT_S)
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                if method == "POST" or attempt == ATTEMPTS:
                    raise UptimeRobotError(
                        f"UptimeRobot {method} /{path}: {type(error).__name__}: {error}"
                    ) from error
            else:
                limited = answer.status_code == httpx.codes.TOO_MANY_REQUESTS
                again = limited or (answer.is_server_error and method != "POST")
                if not again or attempt == ATTEMPTS:
                    return answer
                wait = _retry_after(answer, wait)
            self._sleep(wait)
        raise AssertionError("the loop returns or raises")


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    """Seconds that the answer asks to wait, bounded."""
    try:
        asked = float(answer.headers.get("Retry-After", otherwise))
    except ValueError:
        asked = otherwise
    return min(max(asked, 0.0), LONGEST_WAIT_S)


def _body(monitor: Monitor, contacts: list[int]) -> dict[str, Any]:
    """What creation and update have in common."""
    return {
        "type": "KEYWORD",
        "friendlyName": monitor.name,
        "url": monitor.url,
        "interval": monitor.interval_s,
        "timeout": CHECK_TIMEOUT_S,
        "httpMethodType": "GET",
        "keywordType": "ALERT_NOT_EXISTS",
        "keywordValue": monitor.keyword,
        # At once and once; other values need a paid plan.
        "assignedAlertContacts": [{"alertContactId": c, "threshold": 0, "recurrence": 0} for c in contacts],
    }


def _decoded(answer: httpx.Response) -> Any:
    _check(answer)
    try:
        return answer.json()
    except ValueError as error:
        raise UptimeRobotError(f"{_where(answer)}: answered something that is not JSON") from error


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    try:
        said = answer.json()
        message = said.get("message", "") if isinstance(said, dict) else ""
    except ValueError:
        message = ""
    hint = f"; is {KEY_VARIABLE} a key that may write?" if answer.status_code in (401, 403) else ""
    raise UptimeRobotError(f"{_where(answer)}: {answer.status_code} {str(message)[:200]}".rstrip() + hint)


def _where(answer: httpx.Response) -> str:
    return f"UptimeRobot {answer.request.method} {answer.request.url.path}"


def from_environment(environ: Mapping[str, str] = os.environ) -> Client:
    """A client with the key of the environment.

    Raises:
        UptimeRobotError: when it has none.
    """
    key = environ.get(KEY_VARIABLE)
    if not key:
        raise UptimeRobotError(f"{KEY_VARIABLE} is not set; UptimeRobot, Integrations & API, shows the key")
    return Client(key, environ.get(URL_VARIABLE) or API_URL)
