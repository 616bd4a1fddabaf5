"""A web application without passwords that answers its own hosts and pages, and no foreign ones.

A browser lets any page send requests to 127.0.0.1. One whose name its owner points there (DNS
rebinding) may even read the answers, but its requests carry its own name as their Host; one that
only sends has its own Origin. Both are refused, with 403.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

_NETLOC: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_READING: Final = ("GET", "HEAD", "OPTIONS")
_EVERYWHERE: Final = ("0.0.0.0", "::", "")

Headers = list[tuple[str, str]]


class OwnSite:
    """A WSGI application before another one."""

    def __init__(self, app: Callable[..., Iterable[bytes]], listens: str, names: Iterable[str]):
        """
        Args:
            app: what answers the requests that are let through.
            listens: the address that the server listens on.
            names: other names that it is reached by, as behind a proxy.
        """
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1", *map(_host, (listens, *names))}
        # Whoever listens on every address is reached by each of them. No page can have a foreign
        # server's address in its own name's place: names alone can be pointed elsewhere.
        self._addresses = listens in _EVERYWHERE
        if self._addresses:
            self._names.add(socket.gethostname().lower())

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request, or refuse it with one line."""
        netloc = environ.get("HTTP_HOST", "").lower()
        if not self._is_own(netloc):
            return _refuse(start, "this dashboard does not serve that host; see --allow-host")
        if environ["REQUEST_METHOD"] not in _READING and _is_foreign(environ, netloc):
            return _refuse(start, "only the dashboard's own pages may change something")
        extra = _protection(netloc, environ.get("PATH_INFO", ""))
        given = {name.lower() for name, _ in extra}

        def start_protected(status: str, headers: Headers, *others: Any) -> Any:
            kept = [header for header in headers if header[0].lower() not in given]
            return start(status, kept + extra, *others)

        return self._app(environ, start_protected)

    def _is_own(self, netloc: str) -> bool:
        if not _NETLOC.fullmatch(netloc):
            return False
        host = _host(netloc)
        return host in self._names or (self._addresses and _is_address(host))


def check_names(names: Collection[str]) -> list[str]:
    """Those of ``names`` that are no host's name, with or without a port."""
    return [name for name in names if not _NETLOC.fullmatch(name.lower())]


def _host(netloc: str) -> str:
    """The host of "HOST:PORT", in lower case, without the brackets of an IPv6 address."""
    netloc = netloc.lower()
    if _is_address(netloc):
        return netloc
    return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_foreign(environ: dict[str, Any], netloc: str) -> bool:
    """True if a page of another site sent this; programs that are no browsers say nothing."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and urlsplit(origin.lower()).netloc != netloc:
        return True
    return environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("same-origin", "none")


def _protection(netloc: str, path: str) -> Headers:
    """Headers that let no foreign page frame this one, and no text in it run as a program.

    Notes may hold HTML, which optuna-dashboard shows; files are shown as what they say they are.
    """
    # A policy can name no IPv6 address. 'unsafe-eval' is for parallel coordinates: plotly.js makes
    # the code that draws them, as it goes along, of their shape. There is a build of plotly.js that
    # does without, but optuna-dashboard's program contains the other one. It lets no script in:
    # neither in the page nor from elsewhere; only what runs already could make a program of text.
    scripts = "'self'" if netloc.startswith("[") else f"{netloc}/static/"
    rules = [
        "default-src 'self'",
        f"script-src {scripts} 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "frame-src 'none'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    if path.startswith("/artifacts/"):
        rules = ["sandbox", "default-src 'none'", "frame-ancestors 'none'"]
    return [
        ("Content-Security-Policy", "; ".join(rules)),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Referrer-Policy", "same-origin"),
    ]


def _refuse(start: Callable[..., Any], why: str) -> list[bytes]:
    body = f"403: {why}\n".encode()
    start(
        "403 Forbidden",
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
        ],
    )
    return [body]
