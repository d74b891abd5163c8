"""The part of the Atlas Administration API that snapshots need.

Paths, fields and states are those of its reference, version 2023-01-01 ("Take One On-Demand Snapshot",
"Return All Replica Set Cloud Backups", "Return One Replica Set Cloud Backup"). The caller needs the role
Project Backup Manager.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator
from typing import Literal
from urllib.parse import urlsplit

import httpx
import tenacity
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from steward.atlas.settings import AtlasLogin, AtlasSettings
from steward.errors import StewardError

_ACCEPT = "application/vnd.atlas.2023-01-01+json"
_TIMEOUT_S = 30.0
_ATTEMPTS = 4
#: Snapshots on one page; an unfinished one is among the newest.
_PAGE = 100
_REASONS = {
    401: "the login is refused; check [atlas] of the secrets file",
    403: "this login may not; it needs the role Project Backup Manager, and this host's address in its list",
    404: "no such project or cluster; check atlas.project_id and atlas.cluster",
}


class Snapshot(BaseModel):
    """A snapshot as Atlas describes it; what else it says is left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    id: str
    status: Literal["queued", "inProgress", "completed", "failed"]
    kind: str = Field(alias="snapshotType")
    description: str = ""
    created_at: AwareDatetime | None = Field(default=None, alias="createdAt")
    expires_at: AwareDatetime | None = Field(default=None, alias="expiresAt")
    size: int | None = Field(default=None, alias="storageSizeBytes")
    version: str | None = Field(default=None, alias="mongodVersion")

    @property
    def unfinished(self) -> bool:
        """Atlas is still at it."""
        return self.status in ("queued", "inProgress")


class Atlas:
    """One cluster; use it as a context."""

    def __init__(self, settings: AtlasSettings, login: AtlasLogin) -> None:
        self._settings = settings
        self._login = login
        self._where = f"Atlas at {urlsplit(settings.endpoint_url).hostname}"
        self._token = ""
        self._http = httpx.Client(
            base_url=settings.endpoint_url,
            timeout=_TIMEOUT_S,
            verify=_context(settings),
            headers={"Accept": _ACCEPT},
        )

    def __enter__(self) -> Atlas:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def snapshots(self) -> list[Snapshot]:
        """The newest snapshots of the cluster.

        Raises:
            StewardError: Atlas refuses, or cannot be reached.
        """
        answer = self._ask("GET", f"?itemsPerPage={_PAGE}")
        results = answer.get("results")
        if not isinstance(results, list):
            raise StewardError(f"{self._where}: an answer without its results")
        return [self._parsed(item) for item in results]

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """One snapshot.

        Raises:
            StewardError: as above.
        """
        return self._parsed(self._ask("GET", f"/{snapshot_id}"))

    def take(self, description: str, days: int) -> Snapshot:
        """Begin an on-demand snapshot, which Atlas keeps for so many days.

        It is asked for once: the answer to a request that took effect may be lost, and another one
        would be another snapshot.

        Raises:
            StewardError: as above.
        """
        return self._parsed(self._ask("POST", "", {"description": description, "retentionInDays": days}))

    def _parsed(self, document: object) -> Snapshot:
        try:
            return Snapshot.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise StewardError(
                f"{self._where}: an answer that is not understood: {field}: {first['msg']}"
            ) from error

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        settings = self._settings
        url = f"/api/atlas/v2/groups/{settings.project_id}/clusters/{settings.cluster}/backup/snapshots{path}"

        def once() -> httpx.Response:
            answer = self._http.request(method, url, json=body, auth=self._auth())
            if answer.status_code == 401 and self._token:
                self._token = ""  # it has expired
                answer = self._http.request(method, url, json=body, auth=self._auth())
            return answer

        answer = self._repeated(once, again=method == "GET")
        return self._checked(answer)

    def _auth(self) -> httpx.Auth:
        login = self._login
        if login.public_key is not None and login.private_key is not None:
            return httpx.DigestAuth(login.public_key, login.private_key.get_secret_value())
        if not self._token:
            self._token = self._new_token()
        return _Bearer(self._token)

    def _new_token(self) -> str:
        login = self._login
        if login.client_id is None or login.client_secret is None:
            raise ValueError("no login")
        basic = httpx.BasicAuth(login.client_id, login.client_secret.get_secret_value())
        form = {"grant_type": "client_credentials"}
        headers = {"Accept": "application/json"}
        answer = self._repeated(
            lambda: self._http.post("/api/oauth/token", data=form, headers=headers, auth=basic), again=True
        )
        token = self._checked(answer).get("access_token")
        if not isinstance(token, str) or not token:
            raise StewardError(f"{self._where}: an answer without its access token")
        return token

    def _repeated(self, once: Callable[[], httpx.Response], *, again: bool) -> httpx.Response:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS if again else 1),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=8),
            retry=tenacity.retry_if_exception_type(httpx.TransportError)
            | tenacity.retry_if_result(lambda answer: answer.status_code >= 500 or answer.status_code == 429),
            retry_error_callback=_last,
        )
        try:
            return retrying(once)
        except httpx.HTTPError as error:
            raise StewardError(
                f"{self._where}: cannot be reached: {error or type(error).__name__}"
            ) from error

    def _checked(self, answer: httpx.Response) -> dict[str, object]:
        try:
            document = answer.json()
        except ValueError:
            document = None
        found: dict[str, object] = document if isinstance(document, dict) else {}
        if answer.is_success and isinstance(document, dict):
            return found
        said = " ".join(str(found.get("detail") or found.get("errorCode") or "").split())
        reason = _REASONS.get(answer.status_code, f"status {answer.status_code}")
        raise StewardError(f"{self._where}: {reason}" + (f" ({said})" if said else ""))


def _context(settings: AtlasSettings) -> ssl.SSLContext:
    """The system's authorities, or those of the configuration; httpx would take those of a package."""
    return ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)


def _last(state: tenacity.RetryCallState) -> httpx.Response:
    """What the last attempt gave: an answer, or its error."""
    if state.outcome is None:
        raise ValueError("nothing was tried")
    found: httpx.Response = state.outcome.result()
    return found


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request
