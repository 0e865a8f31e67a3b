"""A client of Dask that loads no pickle, and keeps its peace.

Dask's own trusts whoever it talks to: it unpickles results, their types, errors, warnings and whatever a message wraps.
``deserializers`` speaks of the first alone, and of those Dask's family named ``dask`` holds a pickle too. Here results
are msgpack's plain bytes, and all other pickles are refused where each of them passes.
"""

from __future__ import annotations

import io
import logging
import pickle
import pickletools
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import dask
from distributed import Client
from distributed.protocol import pickle as dask_pickle
from distributed.versions import VersionMismatchWarning

PLAIN = ["msgpack", "error"]  # how a result may be written; error: as the text that says why it could not be
_ANSWER_S = 5.0  # what a scheduler may take to answer
_WRAPPER = "tblib.pickling_support"  # whose function makes an error with its causes
_NEVER = logging.CRITICAL + 1
_CONFIGURED = ("distributed", "tornado", "bokeh")  # the loggers that Dask gives handlers of their own


class PlainClient(Client):
    """Dask's client. Types, tracebacks and events, such as a warning, come pickled and are of no interest here."""

    def __init__(self, address: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VersionMismatchWarning)  # what has to be alike, each worker checks
                super().__init__(
                    address,
                    timeout=_ANSWER_S,
                    set_as_default=False,
                    direct_to_workers=False,  # else a client would have to reach each of them
                    deserializers=PLAIN,
                )
        except BaseException:
            self.status = "closed"  # else it would be closed, for seconds and in vain, when it is collected
            raise

    def _handle_key_in_memory(self, key: Any = None, type: Any = None, workers: Any = None) -> None:
        super()._handle_key_in_memory(key, None, workers)

    def _handle_task_erred(self, key: Any = None, exception: Any = None, traceback: Any = None) -> None:
        super()._handle_task_erred(key, exception, None)

    async def _handle_event(self, topic: Any, event: Any) -> None:
        pass

    async def _handle_report(self) -> None:
        """Listen to the scheduler; once nobody does, such as after a refused message, let nobody wait for more."""
        try:
            await super()._handle_report()
        finally:
            for state in list(self.futures.values()):
                if state.status == "pending":
                    state.cancel(reason="scheduler-connection-lost", msg="Nobody listens to the scheduler any more.")


def connect(address: str) -> PlainClient:
    """Return a client of a scheduler. Raises: TimeoutError, and whatever else shows that there is none.

    Dask waits for ever for an address that takes connections and says nothing, so it waits in a thread of its own.
    """
    found: Future[PlainClient] = Future()

    def try_it() -> None:
        try:
            found.set_result(PlainClient(address))
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=try_it, name="connect", daemon=True).start()
    try:
        return found.result(2 * _ANSWER_S)
    except TimeoutError as error:
        raise (error if found.done() else TimeoutError(f"it said nothing for {2 * _ANSWER_S:g} s")) from None


class _NoObjects(pickle.Unpickler):
    """Reads the one pickle that Dask writes beside plain bytes, the name of their type, and no other object."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "bytes"):
            return bytes
        raise pickle.UnpicklingError(f"a pickled {module}.{name} was refused")


def _load_no_object(data: Any, *, buffers: Sequence[Any] = ()) -> Any:
    return _NoObjects(io.BytesIO(data), buffers=buffers).load()


@contextmanager
def no_pickles() -> Iterator[None]:
    """Let Dask load no pickle in this process. Its own scheduler needs them: this is for one that runs elsewhere."""
    loads, dask_pickle.loads = dask_pickle.loads, _load_no_object
    try:
        yield
    finally:
        dask_pickle.loads = loads


def read_error(error: object) -> tuple[str, str]:
    """Return the name and the message of an error as Dask sent it, read without making what the pickle describes."""
    if isinstance(error, Exception) and error.args and isinstance(error.args[0], bytes):
        error = error.args[0]  # which Dask could not load
    if not isinstance(error, bytes):
        return type(error).__name__, str(error)
    texts: list[str] = []
    with suppress(ValueError):  # it is no pickle, or ends amidst
        texts.extend(value for _, value, _ in pickletools.genops(error) if isinstance(value, str))
    if texts[:1] == [_WRAPPER]:
        texts = texts[2:]
    _, name, message = [*texts, "", "", ""][:3]
    return name or "an error", message


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask's log, which goes to standard error, from whoever started the sweep: its errors are reported here."""
    loggers = [
        logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.split(".")[0] in _CONFIGURED
    ]
    with ExitStack() as before:
        for logger in loggers:
            before.callback(setattr, logger, "disabled", logger.disabled)
            logger.disabled = True
        asyncio = logging.getLogger("asyncio")  # of what is left of a connection that was cut
        before.callback(asyncio.setLevel, asyncio.level)
        asyncio.setLevel(_NEVER)
        yield


@contextmanager
def prompt() -> Iterator[None]:
    """Let Dask notice within seconds that another machine does not answer; its own patience is half a minute."""
    with dask.config.set({"distributed.comm.timeouts.connect": "5s", "distributed.comm.timeouts.tcp": "12s"}):
        yield
