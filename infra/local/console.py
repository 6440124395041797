"""What the command line says: Korean first, English beside it; live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(highlight=False, soft_wrap=True)


def say(korean: str, english: str, style: str = "") -> None:
    """One message."""
    text = f"{escape(korean)} [dim]({escape(english)})[/dim]"
    console.print(f"[{style}]{text}[/{style}]" if style else text)


def complain(korean: str, english: str) -> None:
    """One error."""
    say(korean, english, "red")


def tail(file: Path, lines: int) -> list[str]:
    """The last lines of a log; nothing when there is none."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 64 * 1024))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


class Steps:
    """Progress of things that go on side by side."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    @contextmanager
    def step(self, name: str, korean: str, english: str) -> Iterator[None]:
        """One of them: told as under way, then as done with its seconds, or as failed."""
        label = f"{name:<10} {escape(korean)} [dim]({escape(english)})[/dim]"
        task = self._progress.add_task(label, total=1) if self._progress else None
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self._end(task, f"[red]✗[/red] {label}")
            raise
        self._end(task, f"[green]✓[/green] {label}  {time.monotonic() - began:.1f} s")

    def _end(self, task: "object | None", line: str) -> None:
        if self._progress is not None and task is not None:
            self._progress.remove_task(task)  # type: ignore[arg-type]
            self._progress.console.print(line)
        else:
            console.print(line)


@contextmanager
def steps() -> Iterator[Steps]:
    """Steps shown on the console."""
    if not console.is_terminal:
        yield Steps(None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield Steps(progress)
