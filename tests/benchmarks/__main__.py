"""`python -m tests.benchmarks [NAME|all]`: runs a benchmark (a package beside this file), or each in turn.

Each prints a table and leaves JSON in build/bench/<name>.json, with a peer or the physical limit in the same run.
"""

import runpy
import sys
from pathlib import Path


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))


def main() -> None:
    """Run what was asked for."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else "all"
    chosen = names() if wanted == "all" else [wanted]
    if not set(chosen) <= set(names()):
        sys.exit(f"그런 벤치마크가 없습니다 (no benchmark {wanted}); 있는 것 (there are): {', '.join(names())}")
    sys.argv = sys.argv[:1]
    for name in chosen:
        print(f"== {name}", flush=True)
        runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
