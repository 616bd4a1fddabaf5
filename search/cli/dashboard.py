"""optuna-dashboard, served to a browser on this machine."""

from __future__ import annotations

import socket
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tuneoff.search.cli.terminal import console
from tuneoff.search.errors import UserError
from tuneoff.search.store.database import Database


def serve_dashboard(database: Database, artifacts: Path, host: str, port: int) -> None:
    """Serve optuna-dashboard until Ctrl-C.

    Args:
        artifacts: the folder that it keeps files in; made if it is not there.

    Raises:
        UserError: this address cannot be listened on, or the folder cannot be made.
    """
    import optuna_dashboard
    from optuna.artifacts import FileSystemArtifactStore

    try:
        artifacts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{artifacts}: cannot be made ({error.strerror}); choose another --work"
        ) from None
    app = optuna_dashboard.wsgi(database.optuna, artifact_store=FileSystemArtifactStore(artifacts))
    kind = _Server6 if ":" in host else _Server
    try:
        server = make_server(host, port, app, server_class=kind, handler_class=_QuietHandler)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be used ({error.strerror}); choose another"
        ) from None
    with server:
        shown = f"[{host}]" if ":" in host else host
        console.print(f"Dashboard of {database}", soft_wrap=True)
        console.print(f"http://{shown}:{port}/ (Ctrl-C ends it)", soft_wrap=True)
        server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    """Requests have threads of their own, so that Ctrl-C always reaches this one."""

    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the page asks for news every few seconds."""
