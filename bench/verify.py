"""What `lab verify` finds and costs, beside the comparisons that PyTorch's own tests make. Prints four tables.

    make bench-verify            or:  python bench/verify.py
    make bench-verify ARGS="--only alarms"   (alarms, detection, blame, time)

alarms: false alarms on seven healthy ways to run the CPU, in float32. detection: of the gradients that a fault
changes, how many each rule flags. blame: does the replay name the faulty kernel. time: beside the floor, the torch
calls that no verifier can avoid, and beside PyTorch's own test case class.

The peers are ``torch.testing.assert_close`` with its defaults and Dynamo's ``same()`` with its tolerance of 1e-4, both
against the healthy CPU in the same dtype.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

HEALTHY = ("plain", "capability", "capability-avx2", "threads", "mkldnn-off", "decompositions", "reordered")
SYSTEMIC = ("tf32", "bf16-product", "bf16-accumulation", "tail")
SHOWN = "{:<26}{:>12}{:>14}{:>12}{:>10}"


def alarms() -> None:
    """Count the false alarms of each rule on each healthy variant, each in a process of its own."""
    print("False alarms, float32, every layout, cotangent, mask and size\n")
    print(SHOWN.format("variant", "compared", "assert_close", "same()", "lab"))
    total: Counter[str] = Counter()
    for name in HEALTHY:
        row = _in_process("alarms", name)
        total.update({key: row[key] for key in ("compared", "assert_close", "same", "lab")})
        print(SHOWN.format(name, row["compared"], row["assert_close"], row["same"], row["lab"]), f"  {row['worst']}")
    print(SHOWN.format("all", total["compared"], total["assert_close"], total["same"], total["lab"]))


def detection() -> None:
    """Count what each rule flags of the gradients that a fault changes."""
    print("\nFlagged of the gradients that the fault changed, float32\n")
    print(SHOWN.format("fault", "changed", "assert_close", "same()", "lab"))
    faults = [*SYSTEMIC, *(f"one kernel: {what}" for what in ("1e-4", "1e-5", "1e-6", "nan", "stride-blind"))]
    for fault in faults:
        row = _in_process("detection", fault)
        shares = [f"{100 * row[key] / max(row['changed'], 1):.1f} %" for key in ("assert_close", "same", "lab")]
        print(SHOWN.format(fault, row["changed"], *shares), row.get("note", ""))
    row = _in_process("detection", "flush")
    print(SHOWN.format("flush to zero", row["changed"], "", "", ""), row["note"])


def blame() -> None:
    """Count how often the replay names the kernel that is wrong."""
    row = _in_process("blame", "1e-4")
    print(f"\nBlame, {row['kernels']} kernels wrong by 1e-4, float32: of {row['flagged']} flagged gradients")
    print(f"  named right {row['right']} ({100 * row['right'] / row['flagged']:.1f} %)  wrong {row['wrong']}", end="")
    print(f"  not named {row['none']}")


def timing() -> None:
    """Time verification beside its floor and beside PyTorch's own test machinery, alternating, in one process."""
    row = _in_process("time", "")
    print("\nTime, float32, one thread")
    print(f"  {row['cases']:,} cases, all sizes: {row['total']:.2f} s, torch calls {row['floor']:.2f} s:", end="")
    print(f" {row['total'] / row['floor']:.2f} × the calls that cannot be avoided")
    print(f"  of them {row['golden_cases']:,} with a golden reference: {row['golden_total']:.2f} s,", end="")
    print(f" torch calls {row['golden_floor']:.2f} s: {row['golden_total'] / row['golden_floor']:.2f} ×")
    peer, ours = row["peer"] / row["peer_cases"], row["peer_ours"] / row["peer_cases"]
    print(
        f"  {row['peer_cases']:,} cases in torch.testing's TestCase, a test each: {1e3 * peer:.2f} ms a case,", end=""
    )
    print(f" lab verify {1e3 * ours:.2f} ms: {peer / ours:.1f} × faster")
    numeric = row["numeric"] / row["numeric_cases"]
    print(
        f"  {row['numeric_cases']:,} of them, contiguous, in gradcheck's fast mode, as PyTorch tests gradients:", end=""
    )
    print(f" {1e3 * numeric:.2f} ms a case: {numeric / ours:.1f} × faster")


def _in_process(table: str, name: str) -> dict:
    """Measure one row in a process of its own: some backends are chosen before torch loads."""
    from lab.prove.backends import BACKENDS

    environment = {**os.environ, **(BACKENDS[name].environment if name in BACKENDS else {})}
    command = [sys.executable, str(Path(__file__).with_name("verify_rows.py")), table, name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    tables = {"alarms": alarms, "detection": detection, "blame": blame, "time": timing}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tables)
    only = parser.parse_args().only
    for name, table in tables.items():
        if only in (None, name):
            table()


if __name__ == "__main__":
    main()
