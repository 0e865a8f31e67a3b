"""Notebooks run by papermill: parameters validated first, the truth written to run.json, published by one rename."""

from lab.run.execute import check_seconds, execute_plan, run_notebook
from lab.run.grid import Grid, check_count, read_grid
from lab.run.notebook import Notebook, check_notebook, read_notebook
from lab.run.plan import Plan, plan_grid, plan_run
from lab.run.result import RunResult
from lab.run.sweep import How, Outcome, Sweep, Wish, finished_run
from lab.run.workers import Workers, executor_workers, local_workers

__all__ = [
    "Grid",
    "How",
    "Notebook",
    "Outcome",
    "Plan",
    "RunResult",
    "Sweep",
    "Wish",
    "Workers",
    "check_count",
    "check_notebook",
    "check_seconds",
    "execute_plan",
    "executor_workers",
    "finished_run",
    "local_workers",
    "plan_grid",
    "plan_run",
    "read_grid",
    "read_notebook",
    "run_notebook",
]
