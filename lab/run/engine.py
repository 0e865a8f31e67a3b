"""papermill's engine with three changes: the truth about each cell, a limit on its output, a kernel that really ends.

papermill calls every cell 'completed' once the kernel has died or the time is up, keeps whatever a cell prints,
and leaves a kernel behind when it is interrupted while starting one.
"""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import math
import time
from contextlib import suppress
from typing import Any

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from traitlets import Float

from lab.run.execution import NOT_RUN, CellRecord, Execution
from lab.run.kernel import kernel_manager
from lab.run.provisioner import GivenUp, WarmProvisioner
from lab.run.status import COMPLETED, FAILED, TIMEOUT

ENGINE = "lab"
STREAM_LIMIT = 1_000_000  # characters that a cell may print
DISPLAY_LIMIT = 16_000_000  # characters of JSON that it may display: pictures, tables
_IOPUB_SECONDS = 60  # how long a cell's output may lag behind its end; papermill's 4 are too few for megabytes
# Asked of the kernel after its last cell, as an expression whose value is text. Of one that has not imported torch too:
# a kernel that was forked has it in any case, and what is recorded must not depend on how a kernel came to be.
QUESTION = (
    "__import__('json').dumps({{'memory': __import__('lab.memory', fromlist=['memory']).memory(),"
    " 'environment': __import__('lab.device', fromlist=['environment']).environment({device!r})}})"
)
_END_S = 5.0  # how long a kernel may take to end once it is asked to
_LAST_WORDS_S = 0.1  # how long what a dead kernel had already sent may take to arrive

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # nbclient logs a dead kernel as an error; here it is a status


class LabEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """papermill's own engine around LabClient. papermill hands an Execution through to it."""

    @classmethod
    def execute_notebook(cls, nb: NotebookNode, kernel_name: str, **options: Any) -> NotebookNode:
        """Execute a notebook, then correct what papermill wrote into its metadata."""
        execution: Execution = options["execution"]
        for cell in nb.cells:
            if "injected-parameters" in cell.metadata.tags:
                cell["id"] = "injected-parameters"  # papermill's is random
        execution.expect(nb)
        try:
            return super().execute_notebook(nb, kernel_name, **options)  # type: ignore[no-any-return]
        finally:
            for cell, record in zip(execution.cells, execution.records, strict=True):
                # papermill's word for a cell that has not run is 'pending'.
                cell.metadata.papermill["status"] = "pending" if record.state == NOT_RUN else record.state
                if record.state == FAILED:  # be it that the kernel died: papermill marks the cell in red
                    cell.metadata.papermill["exception"] = nb.metadata.papermill["exception"] = True

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
        """Execute the cells in a kernel of their own, and leave no process behind."""
        execution: Execution = options["execution"]
        try:
            # What the process itself writes, beside what its cells print, is for nobody's terminal.
            with (execution.scratch / "kernel.log").open("wb") as log:
                environment = {**execution.variables, "IPYTHONDIR": str(execution.scratch / "ipython")}
                LabClient(nb_man, execution).execute(env=environment, stdout=log, stderr=log)
        except DeadKernelError as error:
            execution.died = f"{error} ({execution.process.how_it_ended})"
        finally:
            execution.process.close()


class LabClient(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client, which keeps an Execution up to date."""

    timeout = Float(None, allow_none=True)  # nbclient's own takes whole seconds

    def __init__(self, nb_man: Any, execution: Execution) -> None:
        super().__init__(
            nb_man,
            log=_log,
            resources={"metadata": {"path": str(execution.folder)}},
            startup_timeout=60,
            iopub_timeout=_IOPUB_SECONDS,
            shell_timeout_interval=1,  # seconds between two looks at whether the kernel is alive
            timeout=execution.cell_limit,
            extra_arguments=["--HistoryManager.hist_file=:memory:"],  # as nbclient does for a kernel named python3
        )
        self.execution = execution
        self._printed = self._displayed = 0
        execution.wake = self._wake

    def create_kernel_manager(self) -> Any:
        """Create a manager whose connection is private."""
        self.km = kernel_manager(self.execution.scratch)
        return self.km

    def start_new_kernel(self, **options: Any) -> None:
        """Start the kernel and take note of its process."""
        try:
            super().start_new_kernel(**options)
        except GivenUp as reason:
            raise DeadKernelError(str(reason)) from None
        self.execution.process.started(self.km)
        self.execution.cold = getattr(self.km.provisioner, "cold", "")

    def start_new_kernel_client(self) -> Any:
        """Wait until the kernel answers. Raises: DeadKernelError where it ends instead, or says nothing in time."""
        try:
            return super().start_new_kernel_client()
        except RuntimeError as error:
            raise DeadKernelError(str(error)) from None

    def papermill_execute_cells(self) -> None:
        """Execute the cells, then ask the kernel for the environment that they ran in."""
        try:
            super().papermill_execute_cells()
            self.execution.finished = True
            self.execution.answer = self._ask()
        except BaseException:
            self.shutdown_kernel = "immediate"  # a busy or dead kernel would be waited for
            raise

    def execute_cell(self, cell: NotebookNode, cell_index: int, **options: Any) -> NotebookNode:
        """Execute one cell and record what became of it."""
        execution, record = self.execution, self.execution.records[cell_index]
        if self.skip_cells_with_tag in cell.metadata.tags:
            return cell
        if execution.on_cell is not None:
            execution.on_cell(cell_index, len(execution.records))
        self._printed = self._displayed = 0
        execution.running, record.state = cell_index, FAILED  # until it is known to have completed
        start = time.perf_counter()
        try:
            executed: NotebookNode = super().execute_cell(cell, cell_index, **options)
            record.state, execution.running = COMPLETED, None
            return executed
        except CellTimeoutError:
            if execution.stopped:  # at the cell's own limit
                raise DeadKernelError("Kernel was stopped") from None
            message = f"the cell has ended, but {_IOPUB_SECONDS} s later its output had not arrived"
            execution.raised = CellExecutionError("", "OutputLost", message)
            raise execution.raised from None
        except CellExecutionError as error:
            execution.raised = error
            raise
        except DeadKernelError:
            raise
        except Exception as error:  # such as a cell that displays what no notebook can hold
            execution.raised = CellExecutionError("", type(error).__name__, str(error))
            raise execution.raised from None
        finally:
            record.seconds = time.perf_counter() - start

    async def _async_handle_timeout(self, timeout: int, cell: NotebookNode | None = None) -> Any:
        """Stop a cell that has reached its limit, and its kernel with it: what it would still do is anyone's guess."""
        self.execution.overran = not self.execution.stopped
        self.execution.stop(TIMEOUT)
        return await super()._async_handle_timeout(timeout, cell)

    async def _async_poll_kernel_alive(self) -> None:
        """Notice a kernel that has ended at once, where nbclient looks every second."""
        await self.execution.process.ended(math.inf)
        await asyncio.sleep(_LAST_WORDS_S)
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()  # which nbclient takes for a dead kernel

    async def _async_cleanup_kernel(self) -> None:
        """Let the kernel end by itself and go on as soon as it has, where Jupyter looks every 0.1 s."""
        if self.shutdown_kernel != "immediate":
            await self.km.request_shutdown()
            await self.execution.process.ended(_END_S)
            self.shutdown_kernel = "immediate"
        await super()._async_cleanup_kernel()

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Take in a message. One that changes what was displayed counts as what is displayed."""
        record = self.execution.records[cell_index]
        if msg["msg_type"] == "update_display_data" and not self._fits(cell.outputs, msg, record):
            return None
        return super().process_message(msg, cell, cell_index)

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Keep what a cell shows up to its limits, joining what it prints in a row.

        nbclient's own way to join takes time quadratic in the length of a line, and loses the order of prints
        and pictures.
        """
        if not self._fits(outs, msg, self.execution.records[cell_index]):
            return None
        shown: NotebookNode | None = super().output(outs, msg, display_id, cell_index)
        _join_streams(outs)
        return shown

    def clear_output(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        """Clear a cell's output, which makes room again."""
        super().clear_output(outs, msg, cell_index)
        self._printed = self._displayed = 0

    def _fits(self, outs: list[NotebookNode], msg: dict[str, Any], record: CellRecord) -> bool:
        """Say whether a message is to be shown, shortened if need be. What is left out is announced once."""
        content = msg["content"]
        match msg["msg_type"]:
            case "error":  # in any case
                content["evalue"] = content["evalue"][:STREAM_LIMIT]
                content["traceback"] = [line[:STREAM_LIMIT] for line in content["traceback"]]
                return True
            case "stream":
                room, size = STREAM_LIMIT - self._printed, len(content["text"])
                self._printed += size
                if size > room:
                    note = f"\n[cut here: a cell may print {STREAM_LIMIT:,} characters]\n"
                    content["text"] = content["text"][: max(room, 0)] + note
                    record.cut = True
                return room >= 0
            case _:
                room, size = DISPLAY_LIMIT - self._displayed, len(json.dumps(content, default=str))
                self._displayed += size
                if size > room >= 0:
                    note = f"[cut here: a cell may display {DISPLAY_LIMIT:,} characters]\n"
                    outs.append(new_output("stream", name="stderr", text=note))
                    record.cut = True
                return size <= room

    def _ask(self) -> dict[str, Any]:
        """Return the kernel's answer about its environment, or nothing where it gives none."""
        question = QUESTION.format(device=self.execution.device or "cpu")
        # A cell may have shadowed or broken what the expression needs: then there is no answer, and no reason to fail.
        with suppress(KeyError, TypeError, ValueError, SyntaxError, AttributeError):
            reply = self.wait_for_reply(self.kc.execute("", silent=True, user_expressions={"answer": question}))
            text = reply["content"]["user_expressions"]["answer"]["data"]["text/plain"]
            return dict(json.loads(ast.literal_eval(text)))
        return {}

    def _wake(self) -> None:
        """Make the executing thread notice a dead kernel, or one that will not be, now instead of at its next look."""
        provisioner = getattr(self.km, "provisioner", None)
        if isinstance(provisioner, WarmProvisioner):
            provisioner.give_up()
        task = self.task_poll_for_reply
        if task is not None:
            with suppress(RuntimeError):  # the loop is closed: it has noticed
                task.get_loop().call_soon_threadsafe(task.cancel)


def _join_streams(outs: list[NotebookNode]) -> None:
    """Join the last output with an earlier one of the same stream, where only streams lie between them."""
    if not outs or outs[-1].output_type != "stream":
        return
    for earlier in reversed(outs[:-1]):
        if earlier.output_type != "stream":
            return
        if earlier.name == outs[-1].name:
            earlier.text += outs.pop().text
            return


papermill_engines.register(ENGINE, LabEngine)
