"""`smartfit capacity`: what a fleet needs, after showing that the simulation says what was measured."""

import json
import sys
from pathlib import Path

import click

from infra.capacity import document, plots, report, scenarios
from infra.capacity.figures import PLACE, BadFigures, Figures, load, take
from infra.capacity.fleet import BadFleet, Fleet
from infra.capacity.parts import loads
from infra.capacity.validation import validate

BUILD = Path("build/capacity")
QUICK = 0.25


def _figures(place: Path) -> Figures:
    try:
        return load(place)
    except BadFigures as problem:
        raise click.ClickException(f"수치 파일을 읽을 수 없습니다 (the figures cannot be read): {problem}") from problem


@click.group("capacity", invoke_without_command=True)
@click.option("--gyms", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True, help="지점 수 (gyms)")
@click.option("--members", type=click.IntRange(1, 10**11), help="회원 수 (members; default: as assumed a gym)")
@click.option(
    "--target", type=click.FloatRange(0.05, 0.95), default=0.6, show_default=True, help="목표 이용률 (utilisation)"
)
@click.option("--seed", default=1, show_default=True, help="같은 값이면 같은 결과 (the same seed, the same figures)")
@click.option(
    "--figures",
    "place",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PLACE,
    help="다른 수치 파일 (other figures)",
)
@click.option("--quick", is_flag=True, help="짧게 (simulate a quarter, no 36 h)")
@click.option("--json", "as_json", is_flag=True, help="JSON으로 (as JSON)")
@click.option("--plots/--no-plots", "plotting", default=True, help=f"그림을 {BUILD}에 (plots)")
@click.pass_context
def command(
    context: click.Context, gyms: int, members: int | None, target: float, seed: int, place: Path, quick: bool,
    as_json: bool, plotting: bool,
) -> None:  # fmt: skip
    """지점과 회원이 늘면 무엇이 얼마나 필요한지 (what a fleet needs, reckoned from figures measured on one machine)"""
    if context.invoked_subcommand is not None:
        return
    figures = _figures(place)
    try:
        fleet = Fleet(gyms, members) if members is not None else Fleet.of(gyms, figures)
        checked = validate(figures, seed, QUICK if quick else 1.0)
        found = _scenarios(fleet, figures, target, seed, quick)
        told = report.document(fleet, figures, target, checked, found)
    except (BadFleet, BadFigures) as problem:
        raise click.ClickException(str(problem)) from problem
    if plotting:
        told["plots"] = _plotted(figures, target, seed)
    click.echo(json.dumps(told, ensure_ascii=False, indent=1) if as_json else report.text(told))
    if not told["valid"]:
        click.echo("시뮬레이션이 측정값을 재현하지 못했습니다 (out of tolerance: do not believe the rest)", err=True)
        sys.exit(1)


def _scenarios(fleet: Fleet, figures: Figures, target: float, seed: int, quick: bool) -> list[scenarios.Found]:
    members = fleet.members / fleet.gyms
    api = next(found.units for found in loads(fleet, figures, target) if found.part.name == "access API")
    gyms = 4 if quick else scenarios.CELL_GYMS
    found = [
        scenarios.peak_hour(figures, members, seed, min(gyms, fleet.gyms)),
        scenarios.broker_away(figures, members, seed, min(gyms, fleet.gyms)),
    ]
    if not quick:
        found.append(scenarios.lines_down(figures, members, seed, min(scenarios.OUTAGE_GYMS, fleet.gyms)))
    return [
        *found,
        scenarios.full_rate(fleet, figures, target, seed, 3.0 if quick else 10.0),
        scenarios.outage_of_a_share(fleet, figures, 0.1, 36.0, api),
        scenarios.rollout(fleet, figures),
    ]


def _plotted(figures: Figures, target: float, seed: int) -> list[str]:
    try:
        places = [
            plots.units_by_gyms(figures, target, BUILD / "units.png"),
            plots.times(scenarios.times_of_a_cell(figures, seed), BUILD / "times.png"),
        ]
    except ImportError as missing:
        click.echo(f"그림은 생략합니다 (no plots): pip install {missing.name}", err=True)
        return []
    return [str(place) for place in places]


@command.command("document")
def write_document() -> None:
    """capacity.md의 표를 다시 만듭니다 (make the tables of capacity.md anew)"""
    try:
        changed = document.write()
    except (document.BadDocument, BadFigures) as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(f"{document.PLACE}: {'바뀜 (changed)' if changed else '그대로 (as it was)'}")


@command.command("take")
@click.argument("results", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("parts", nargs=-1)
def take_figures(results: Path, parts: tuple[str, ...]) -> None:
    """벤치마크 결과에서 수치를 가져옵니다 (take measured figures over from build/bench; PARTS: events, capacity:events, ...)"""
    try:
        changed = take(results, parts=parts)
    except BadFigures as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(f"{len(changed)} changed: {', '.join(changed) or '-'}")
