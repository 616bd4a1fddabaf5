"""Puts what optuna-dashboard lists in order: comparisons before searches, figures as in the report.

It shows the newest study first. So a comparison, which is made after its searches, comes before
them, until repeats are opened later. The figures of a study it shows in any order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from tuneoff.search.report.dashboard.notes import figure_place
from tuneoff.search.store.attributes import COMPARISON

_STUDY: Final = re.compile(r"/api/studies/[0-9]+")
_FIGURES: Final = b'"plotly_graph_objects": '


class ComparisonsFirst:
    """A WSGI application before optuna-dashboard's."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request; in the list of studies, oldest first, comparisons come last."""
        path = environ.get("PATH_INFO", "").rstrip("/")
        put_in_order = _studies if path == "/api/studies" else _figures
        listed = path == "/api/studies" or _STUDY.fullmatch(path)
        if not listed or environ["REQUEST_METHOD"] != "GET":
            return self._app(environ, start)
        begun: list[Any] = []
        chunks = self._app(environ, lambda *arguments: begun.append(arguments))
        try:
            body = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers, *others = begun[-1]
        if status.startswith("200"):
            body = put_in_order(body)
            headers = [h for h in headers if h[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(body))))
        start(status, headers, *others)
        return [body]


def _studies(body: bytes) -> bytes:
    content = json.loads(body)
    content["study_summaries"].sort(key=_is_comparison)  # stable
    return json.dumps(content).encode()


def _is_comparison(summary: dict[str, Any]) -> bool:
    return any(attribute["key"] == COMPARISON.name for attribute in summary["user_attrs"])


def _figures(body: bytes) -> bytes:
    # Trials may be many megabytes: only what comes after them is read. Within a text, our mark
    # would have backslashes.
    start = body.rfind(_FIGURES)
    if start < 0:
        return body
    try:
        rest = json.loads(b"{" + body[start:])
    except ValueError:  # the dashboard has changed: any order will do
        return body
    rest["plotly_graph_objects"].sort(key=lambda figure: figure_place(figure["id"]))
    return body[:start] + json.dumps(rest).encode()[1:]
