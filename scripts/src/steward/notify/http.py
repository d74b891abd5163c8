"""One POST to a service of which the URL is a secret."""

from __future__ import annotations

import threading

TIMEOUT_S = 5.0
ATTEMPTS = 3
#: Seconds for all attempts. httpx bounds each read and not their sum, so a service that
#: answers a byte at a time would hold a run for as long as it likes.
LIMIT_S = 30.0


class PostError(Exception):
    """It did not arrive; the message never holds the URL."""


def post(url: str, *, content: bytes, content_type: str) -> None:
    """POST, again after a failure that may pass; at most :data:`LIMIT_S` seconds in all.

    Raises:
        PostError: it did not arrive.
    """
    problems: list[str] = []

    def work() -> None:
        try:
            _post(url, content, content_type)
        except PostError as error:
            problems.append(str(error))

    thread = threading.Thread(target=work, name="post", daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    if thread.is_alive():
        raise PostError(f"{_host(url)} did not answer within {LIMIT_S:g} s")
    if problems:
        raise PostError(problems[0])


def _post(url: str, content: bytes, content_type: str) -> None:
    import ssl

    import httpx
    import tenacity

    def once() -> int:
        return client.post(url, content=content, headers={"Content-Type": content_type}).status_code

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=3),
        retry=tenacity.retry_if_exception_type(httpx.TransportError)
        | tenacity.retry_if_result(lambda status: status >= 500 or status == 429),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else 0,
    )
    try:
        # The system's authorities; httpx would take those of a package.
        with httpx.Client(timeout=TIMEOUT_S, verify=ssl.create_default_context()) as client:
            status = retrying(once)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        # Their texts may repeat the URL.
        raise PostError(f"{type(error).__name__} at {_host(url)}") from None
    if not 200 <= status < 300:
        raise PostError(f"{_host(url)} answered with status {status}")


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"
