"""Messages to a webhook, from whoever supervises a study's workers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tuneoff.search.cli.failures import remark
from tuneoff.search.errors import UserError
from tuneoff.search.spec.sections import Event, NotifySpec, url_problem
from tuneoff.search.store.outages import OUTAGES, reason

if TYPE_CHECKING:
    from tuneoff.search.report.notify.webhook import Webhook
    from tuneoff.search.results.progress import ArmProgress
    from tuneoff.search.study.study import Study

URL: Final = "TUNEOFF_NOTIFY_URL"
SECRET: Final = "TUNEOFF_NOTIFY_SECRET"


def webhook_of(study: Study) -> Webhook | None:
    """Where this study's messages go; None where nobody is to be told.

    Raises:
        UserError: the URL in the environment is none.
    """
    settings, said = study.spec.notify, os.environ.get(URL)
    url = said or (None if settings is None else settings.url)
    if not url:
        return None
    if said and (wrong := url_problem(said)):
        raise UserError(f"{URL} {wrong}")
    from tuneoff.search.report.notify.webhook import Webhook

    return Webhook(url, os.environ.get(SECRET) or None)


class Notifier:
    """Tells of one study, each event once, whoever else supervises it. Nothing of it is raised.

    Messages are sent by a thread of their own, so that a slow receiver holds nothing up.
    """

    def __init__(
        self,
        study: Study,
        webhook: Webhook | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            webhook: where messages go; None if nobody is to be told.
        """
        self._study, self._webhook, self._clock = study, webhook, clock
        self._settings = study.spec.notify or NotifySpec()
        self._spent, self._since = -1, clock()
        self._threads: list[threading.Thread] = []

    def progress(self, arms: Sequence[ArmProgress]) -> None:
        """To be called now and then with how the study stands."""
        spent = sum(arm.spent for arm in arms)
        left = sum(max(0, arm.budget - arm.spent) for arm in arms)
        if spent != self._spent or not left:
            self._spent, self._since = spent, self._clock()
            return
        minutes = (self._clock() - self._since) / 60
        if minutes >= self._settings.stalled_minutes:
            self._since = self._clock()
            from tuneoff.search.report.notify.events import stalled_message

            self._tell("stalled", lambda: stalled_message(self._study, minutes))

    def ended(self) -> None:
        """The study has come to its end."""
        from tuneoff.search.report.notify.events import end_message

        self._tell("decided", lambda: end_message(self._study.refreshed()))

    def failed(self, why: str) -> None:
        """The workers could not go on."""
        from tuneoff.search.report.notify.events import failed_message

        self._tell("failed", lambda: failed_message(self._study, why))

    def close(self) -> None:
        """Wait for what is on its way, as long as messages are tried."""
        for thread in self._threads:
            thread.join()

    def _tell(self, event: Event, message: Callable[[], dict[str, Any]]) -> None:
        from tuneoff.search.report.notify.events import claim

        webhook = self._webhook
        if webhook is None or event not in self._settings.on:
            return
        try:
            if not claim(self._study, event):
                return
            text = message()
        except OUTAGES as error:
            remark(f"nobody was told that {self._study.name} {_SAID[event]}: {reason(error)}")
            return
        thread = threading.Thread(target=self._send, args=(webhook, text), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _send(self, webhook: Webhook, message: dict[str, Any]) -> None:
        from tuneoff.search.report.notify.webhook import NotSent

        try:
            webhook.send(message)
        except NotSent as error:
            remark(f"the message about {self._study.name} was not delivered: {error}")


_SAID: Final[dict[Event, str]] = {
    "decided": "has come to its end",
    "stalled": "stalls",
    "failed": "failed",
}
