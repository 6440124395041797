"""Writes the files that follow from code: `python -m infra.observability.elk`; `--days N` for another retention."""

import argparse
import json
from pathlib import Path
from typing import Any

from infra.observability.elk import kibana, template

FOLDER = Path(__file__).parent


def files(days: int = template.RETENTION_DAYS) -> dict[Path, str]:
    """{file: what it is to hold}."""
    return {
        FOLDER / "elasticsearch" / "index-template.json": _text(template.index_template()),
        FOLDER / "elasticsearch" / "lifecycle.json": _text(template.lifecycle(days)),
        FOLDER / "kibana" / "smartfit.ndjson": kibana.ndjson(),
    }


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(prog="python -m infra.observability.elk")
    parser.add_argument("--days", type=int, default=template.RETENTION_DAYS, help="days until an index is deleted")
    for file, text in files(parser.parse_args().days).items():
        file.write_text(text, encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
