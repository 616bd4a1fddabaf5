"""optuna-dashboard, served to a browser on this machine."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from tuneoff.search.cli.comparisons_first import ComparisonsFirst
from tuneoff.search.cli.console import console
from tuneoff.search.cli.failures import remark
from tuneoff.search.cli.own_site import OwnSite, check_names
from tuneoff.search.errors import UserError
from tuneoff.search.store.database import Database


def serve_dashboard(
    database: Database, artifacts: Path, host: str, port: int, names: Sequence[str] = ()
) -> None:
    """Serve optuna-dashboard until Ctrl-C.

    Args:
        artifacts: the folder that it keeps files in; made if it is not there.
        names: of hosts that it answers to besides its own.

    Raises:
        UserError: this address cannot be listened on, the folder cannot be made, or a name is
            none.
    """
    for name in check_names(names):
        raise UserError(
            f"--allow-host {name}: is no host's name; write it without http:// and path"
        )
    import optuna_dashboard
    from optuna.artifacts import FileSystemArtifactStore

    from tuneoff.search.report.dashboard.logs import Artifacts
    from tuneoff.search.report.dashboard.publisher import Publisher, every_study

    try:
        artifacts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{artifacts}: cannot be made ({error.strerror}); choose another --work"
        ) from None
    store = Artifacts(database, FileSystemArtifactStore(artifacts))
    site = optuna_dashboard.wsgi(database.optuna, artifact_store=store)
    app = OwnSite(ComparisonsFirst(site), host, names)
    kind = _Server6 if ":" in host else _Server
    try:
        server = make_server(host, port, app, server_class=kind, handler_class=_QuietHandler)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: cannot be used ({error.strerror}); choose another"
        ) from None
    with server, Publisher(lambda: every_study(database), remark):
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
