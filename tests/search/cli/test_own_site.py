"""Which requests the dashboard answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tuneoff.search.cli.own_site import OwnSite, check_names


def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/html"), ("X-Frame-Options", "ALLOWALL")])
    return [b"answered"]


def ask(
    site: OwnSite, host: str | None, method: str = "GET", path: str = "/", **headers: str
) -> tuple[str, dict[str, str], bytes]:
    """Status, headers and body of the answer."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    if host is not None:
        environ["HTTP_HOST"] = host
    found: list[Any] = []
    body = b"".join(site(environ, lambda status, given, *_: found.extend((status, given))))
    assert len(found) == 2
    return found[0][:3], dict(found[1]), body


@pytest.mark.parametrize(
    ("listens", "host", "code"),
    [
        ("127.0.0.1", "127.0.0.1:8080", "200"),
        ("127.0.0.1", "LocalHost", "200"),
        ("127.0.0.1", "localhost.", "200"),
        ("127.0.0.1", "[::1]:8080", "200"),
        ("127.0.0.1", "tuneoff.example.com", "200"),
        ("127.0.0.1", "evil.example", "403"),
        ("127.0.0.1", "127.0.0.1.evil.example", "403"),
        ("127.0.0.1", "localhost.evil.example:8080", "403"),
        ("127.0.0.1", "localhost@evil.example", "403"),
        ("127.0.0.1", "10.0.0.7", "403"),
        ("127.0.0.1", "", "403"),
        ("127.0.0.1", None, "403"),
        ("127.0.0.1", "[::1", "403"),
        ("127.0.0.1", "localhost:8080/x", "403"),
        ("127.0.0.1", "localhost\n", "403"),
        ("127.0.0.1", "locaLho\u017ft", "403"),
        ("10.0.0.7", "10.0.0.7:8080", "200"),
        ("::1", "[::1]:8080", "200"),
        ("db.example", "db.example", "200"),
        ("0.0.0.0", "10.0.0.7:8080", "200"),
        ("::", "[fd00::7]", "200"),
        ("0.0.0.0", "evil.example", "403"),
    ],
)
def test_only_its_own_hosts_are_answered(listens: str, host: str | None, code: str) -> None:
    site = OwnSite(app, listens, ["tuneoff.example.com:443"])
    status, _, body = ask(site, host)
    assert status == code
    assert (body == b"answered") == (code == "200")
    assert code == "200" or body.startswith(b"403: ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "200"),  # no browser
        ({"origin": "http://127.0.0.1:8080"}, "200"),
        ({"origin": "http://127.0.0.1:8080", "sec_fetch_site": "same-origin"}, "200"),
        ({"origin": "http://evil.example"}, "403"),
        ({"origin": "http://127.0.0.1:3000"}, "403"),
        ({"origin": "http://localhost:8080"}, "403"),
        ({"origin": "null"}, "403"),
        ({"origin": ""}, "403"),
        ({"sec_fetch_site": "cross-site"}, "403"),
        ({"sec_fetch_site": "same-site"}, "403"),
    ],
)
def test_only_its_own_pages_may_change_something(
    method: str, headers: dict[str, str], code: str
) -> None:
    site = OwnSite(app, "127.0.0.1", [])
    assert ask(site, "127.0.0.1:8080", method, **headers)[0] == code
    assert ask(site, "127.0.0.1:8080", "GET", **headers)[0] == "200"


def test_answers_protect_the_page() -> None:
    site = OwnSite(app, "127.0.0.1", [])
    _, headers, _ = ask(site, "127.0.0.1:8080", path="/dashboard/")
    assert headers["X-Frame-Options"] == "DENY"
    policy = headers["Content-Security-Policy"]
    assert "script-src 127.0.0.1:8080/static/ 'unsafe-eval';" in policy
    assert "frame-ancestors 'none'" in policy
    _, headers, _ = ask(site, "127.0.0.1:8080", path="/artifacts/1/2")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


def test_names_of_hosts() -> None:
    good = ["tuneoff.example.com", "tuneoff.example.com:8443", "[::1]"]
    bad = ["http://tuneoff.example.com", "a/b", "", "*.example.com"]
    assert check_names(good + bad) == bad
