"""A data set that a function of a user's own returns: ``name = "mydata:load"``."""

from __future__ import annotations

from tuneoff.messages import first_line
from tuneoff.trainer import own_code
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources import given
from tuneoff.trainer.data.sources.packed import identity_of, pack_given
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource


def load(source: DataSource, packing: Packing) -> Pack:
    """The images that a function returns, see ``base.Source``.

    It is called once in each process, so that data that have changed are noticed, and is given
    ``DataSource.options``, and ``path`` if there is one. ``given.of`` says what it may return.
    """
    function = own_code.load(source.name, "data.name", DataError)
    said = f'data.name = "{source.name}"'
    if not callable(function):
        raise DataError(
            f"{said} is no function, but of type {type(function).__name__}; name one that returns "
            f"{given.FORMS}"
        )
    words = {**source.options, **({} if source.path is None else {"path": source.path})}
    try:
        returned = function(**words)
    except (Exception, SystemExit) as error:
        called = ", ".join(f"{name}={value!r}" for name, value in words.items())
        raise DataError(
            f"{said}: {source.name.partition(':')[2]}({called}) failed: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error
    found = given.of(returned, f"what {source.name} returned")
    return pack_given(source, identity_of(found), lambda: found, said, packing)
