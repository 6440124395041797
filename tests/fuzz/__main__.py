"""`python -m tests.fuzz TARGET [--runs N] [--seconds S]`: coverage-guided fuzzing by atheris (libFuzzer).

What a target raises ends the run with status 77, and the input that did it stays beside where it ran (`crash-...`): give it to
`--input`. libFuzzer ends the process itself, so each target has a process of its own.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

# What is to be steered by: the code that reads what a stranger sent.
WATCHED = [
    "access_edge.qr", "access_edge.codes", "ml_bentos.face.images", "platform_api.core.events.envelope", "platform_api.monitoring.lines",
    "jwt", "PIL", "jsonschema", "json",
]  # fmt: skip


def main() -> None:
    """Fuzz one target."""
    with atheris.instrument_imports(include=WATCHED):
        from tests.fuzz.targets import TARGETS
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=-1, help="inputs (default: no end)")
    parser.add_argument("--seconds", type=int, default=0, help="at most (default: no end)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", help="a file with one input to try again")
    options = parser.parse_args()
    target, good = TARGETS[options.target]
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(good()):
            # The good ones are looked at first, without the fuzzer: a target that refuses them finds nothing.
            target(data)
            (Path(corpus) / f"good-{number}").write_bytes(data)
        limits = [
            f"-runs={options.runs}",
            f"-max_total_time={options.seconds}",
            f"-seed={options.seed}",
            "-max_len=16384",
        ]
        # Not of what is resident: Linux hands on the highest figure of the process that started this one.
        limits += ["-timeout=20", "-rss_limit_mb=0", "-malloc_limit_mb=2048", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, options.input or corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
