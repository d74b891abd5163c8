"""Pings to a dead man's switch: a service that raises the alarm when they do not come.

As healthchecks.io takes them (its manual, "Pinging API"; others understand it too): POST to the job's
URL when it ended well, to ``URL/start`` when it begins and to ``URL/fail`` when it failed, with a
few words as the body. The URL is a secret and is never shown. A ping that fails is noted; the job goes on.
"""

from __future__ import annotations

from typing import Literal

from steward.notify.http import PostError, post
from steward.output import note

Event = Literal["start", "success", "fail"]
#: Bytes of the body; healthchecks.io keeps 100,000, more than anybody reads.
BODY_LIMIT = 2000


def ping(url: str, job: str, event: Event, text: str) -> None:
    """Tell the service what happens to a job; never fails.

    Args:
        url: the job's URL, without a suffix.
        text: the body.
    """
    path, mark, query = url.partition("?")
    suffix = "" if event == "success" else f"/{event}"
    target = f"{path.rstrip('/')}{suffix}{mark}{query}"
    try:
        post(target, content=text.encode()[:BODY_LIMIT], content_type="text/plain; charset=utf-8")
    except PostError as error:
        note(f"the ping ({event}) of the job {job} did not arrive: {error}")
