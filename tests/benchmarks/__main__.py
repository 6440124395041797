"""`python -m tests.benchmarks [NAME|all]`: runs a benchmark (a package beside this file), or each in turn.

Each prints tables and leaves JSON in build/bench/<name>.json (tests/results.py), with a peer or the physical limit in the same
run. One that fails does not keep the others from running; the exit status tells whether all ran and all bars hold.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.results import SIZE, place, size, table


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))


def run(name: str, *options: str) -> dict[str, Any]:
    """Run one in a process of its own, so that none finds the threads and caches of another. What became of it."""
    target = place("bench", name)
    before = target.stat().st_mtime_ns if target.exists() else 0
    done = subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *options], check=False)
    if done.returncode != 0 or not target.exists() or target.stat().st_mtime_ns == before:
        return {"benchmark": name, "holds": "failed", "bar": f"exit status {done.returncode}"}
    result = json.loads(target.read_text("utf-8"))
    return {"benchmark": name, "holds": "yes" if result["holds"] else "NO", "bar": result["bar"]}


def main() -> None:
    """Run what was asked for."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else "all"
    chosen = names() if wanted == "all" else [wanted]
    if not set(chosen) <= set(names()):
        sys.exit(f"그런 벤치마크가 없습니다 (no benchmark {wanted}); 있는 것 (there are): {', '.join(names())}")
    os.environ.setdefault(SIZE, "full")
    outcomes = []
    for number, name in enumerate(chosen, 1):
        print(f"== {name} ({number}/{len(chosen)}, {size()})", flush=True)
        outcomes.append(run(name, *sys.argv[2:]))
    table("benchmarks", outcomes)
    sys.exit(0 if all(each["holds"] == "yes" for each in outcomes) else 1)


if __name__ == "__main__":
    main()
