"""Keeps key sets that lie in Vault as files: `python -m platform_api.secrets /run/keys/jwt:smartfit/jwt ...`

Each argument is `FOLDER:PATH`: the fields of the secret PATH are the files of FOLDER. So SMARTFIT_JWT_KEYS_DIR,
SMARTFIT_KEYRING_FILE, SMARTFIT_MODEL_PUBLIC_KEYS_FILE and certificates come out of Vault as from anywhere else, and
processes read them again when they change. Beside each process as a sidecar (and once before it, with --once), on a volume in
memory. While Vault is away the files stay as they are.

A file is replaced whole; one whose field has gone is removed. A folder that would be left with nothing is left as it is: who
emptied the secret by mistake should not stop the platform.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog

from platform_api.core.settings import Settings, SettingsError, load
from platform_api.core.telemetry import configure_logging
from platform_api.core.vault import Vault, VaultError

log = structlog.get_logger(__name__)


def write(folder: Path, files: Mapping[str, str]) -> int:
    """Make `folder` hold these files and no others. Returns how many changed.

    Raises:
        VaultError: there is none, or one has a name that leads elsewhere.
    """
    wrong = [name for name in files if Path(name).name != name or name.startswith(".")]
    if wrong or not files:
        raise VaultError(f"{folder}: 파일 이름이 아닙니다 (no files, or not a file's name: {', '.join(wrong)})")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    changed = 0
    for name, content in files.items():
        file = folder / name
        if file.is_file() and file.read_text(encoding="utf-8") == content:
            continue
        # Hidden and without a known ending: nobody takes it for a key.
        beside = folder / f".{name}.new"
        beside.touch(mode=0o600)
        beside.write_text(content, encoding="utf-8")
        beside.replace(file)
        changed += 1
    for file in folder.iterdir():
        if file.name not in files and file.is_file():
            file.unlink()
            changed += 1
    return changed


def sync(vault: Vault, wanted: Mapping[Path, str]) -> list[str]:
    """Bring every folder up to date. Returns what went wrong."""
    problems = []
    for folder, path in wanted.items():
        try:
            if changed := write(folder, vault.read(path)[0]):
                log.info("secrets_written", path=path, changed=changed)
        except (VaultError, OSError) as error:
            problems.append(f"{path}: {error}")
    return problems


def _pair(text: str) -> tuple[Path, str]:
    folder, separator, path = text.rpartition(":")
    if not separator or not folder or not path:
        raise argparse.ArgumentTypeError(f"{text}: FOLDER:PATH")
    return Path(folder), path


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 1 where --once could not write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wanted", nargs="+", type=_pair, metavar="FOLDER:PATH")
    parser.add_argument("--once", action="store_true", help="write them and end")
    parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS")
    options = parser.parse_args(arguments)
    configure_logging("smartfit-secrets", load(Settings).log_level)
    try:
        vault = Vault()
    except VaultError as error:
        raise SettingsError(str(error)) from None
    stop = threading.Event()
    if not options.once:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    while True:
        problems = sync(vault, dict(options.wanted))
        for problem in problems:
            log.error("secrets_not_written", problem=problem)
        if options.once or stop.wait(options.every):
            return 1 if options.once and problems else 0


if __name__ == "__main__":
    sys.exit(main())
