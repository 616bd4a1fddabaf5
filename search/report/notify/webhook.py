"""A JSON message posted to a URL: signed, with a bounded number of tries, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import IO, Any, Final
from urllib.parse import urlsplit

from tuneoff.retry import Patience

SIGNATURE: Final = "X-Tuneoff-Signature-256"
"""Header: "sha256=" and the HMAC-SHA256 of the body under the secret, in hexadecimal."""
TIMEOUT_SECONDS: Final = 10.0
"""For one try."""
PATIENCE_SECONDS: Final = 60.0
"""For all tries at one message."""
_WORTH_ANOTHER_TRY: Final = (408, 425, 429, 500, 502, 503, 504)

_PATIENCE: Final = Patience(PATIENCE_SECONDS, first_pause=1.0)


class NotSent(Exception):
    """A message that did not arrive; the text says why, without the URL's path or query."""


@dataclass(frozen=True)
class Webhook:
    """Where messages go.

    Attributes:
        url: http or https. It may hold a token: never show more of it than ``host``.
        secret: signs each message; without one, messages are not signed.
        patience: how long, and how often, a message is tried.
    """

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    patience: Patience = _PATIENCE

    @property
    def host(self) -> str:
        """The part of the URL that may be shown."""
        return urlsplit(self.url).hostname or "?"

    def send(self, message: Mapping[str, Any]) -> None:
        """Post one message.

        Raises:
            NotSent: it was refused, or did not arrive in time.
        """
        body = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "tuneoff"}
        if self.secret:
            headers[SIGNATURE] = signature(body, self.secret)
        request = urllib.request.Request(self.url, body, headers, method="POST")
        retry = self.patience.begin()
        while True:
            try:
                self._post(request)
                return
            except _Refused as refusal:
                if not refusal.temporary or retry.is_over:
                    raise NotSent(f"{self.host}: {refusal}") from None
                retry.pause()

    def _post(self, request: urllib.request.Request) -> None:
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise _Refused(f"it answered {error.code}", error.code) from None
        except (OSError, HTTPException, ValueError) as error:
            why = getattr(error, "reason", error)
            raise _Refused(type(why).__name__ if not str(why) else str(why), None) from None


class _Refused(Exception):
    """What one try came to; None as code if there was no answer."""

    def __init__(self, said: str, code: int | None) -> None:
        super().__init__(said)
        self.temporary = code is None or code in _WORTH_ANOTHER_TRY


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the message, and what it is signed with, to another place."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, *_: Any
    ) -> None:
        """None: urllib raises the redirect as an error."""
        return


def signature(body: bytes, secret: str) -> str:
    """What the header says of this body: receivers compute the same and compare."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
