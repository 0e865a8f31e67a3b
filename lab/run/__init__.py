"""Notebooks run by papermill: parameters validated first, the truth written to run.json, published by one rename."""

from lab.run.execute import execute_plan, run_notebook
from lab.run.plan import Plan, plan_run
from lab.run.result import RunResult

__all__ = ["Plan", "RunResult", "execute_plan", "plan_run", "run_notebook"]
