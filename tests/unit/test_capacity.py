"""What `smartfit capacity` promises: formulas that grow as they should, one place of figures, words for what is wrong."""

import copy
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.capacity import document
from infra.capacity.cli import command
from infra.capacity.figures import PLACE, BadFigures, load, parse, take
from infra.capacity.fleet import BadFleet, Fleet, demand
from infra.capacity.parts import PARTS, gyms_of_one, loads
from infra.capacity.settings import constant, subscribers
from infra.capacity.storage import storage
from infra.capacity.validation import validate
from infra.checks import capacity
from infra.checks.check import CheckFailed

FIGURES = load()
DOCUMENT = json.loads(PLACE.read_text("utf-8"))


def changed(name: str, value: object) -> dict[str, dict[str, dict[str, object]]]:
    """The figures with one of them changed."""
    found = copy.deepcopy(DOCUMENT)
    found["measured" if name in found["measured"] else "assumed"][name]["value"] = value
    return found


def test_every_part_needs_as_much_or_more_as_the_fleet_grows() -> None:
    by_part: dict[str, list[tuple[float, int]]] = {}
    for gyms in (1, 10, 100, 1000, 10_000):
        for found in loads(Fleet.of(gyms, FIGURES), FIGURES, 0.6):
            by_part.setdefault(found.part.name, []).append((round(found.erlang, 9), found.units))
            assert found.utilisation <= 0.6 + 1e-9
    assert by_part.keys() == {part.name for part in PARTS}
    assert all(values == sorted(values) for values in by_part.values())


def test_a_lower_target_needs_no_fewer_units() -> None:
    fleet = Fleet.of(1000, FIGURES)
    tight = {found.part.name: found.units for found in loads(fleet, FIGURES, 0.9)}
    assert all(found.units >= tight[found.part.name] for found in loads(fleet, FIGURES, 0.3))


def test_rows_of_the_feed_that_are_passed_grow_with_the_square_of_the_gyms() -> None:
    small, large = (demand(Fleet.of(gyms, FIGURES), FIGURES)["feed_passed"].value for gyms in (100, 1000))
    assert large == pytest.approx(100 * small)


def test_the_first_to_give_is_the_part_whose_single_unit_carries_the_fewest_gyms() -> None:
    order = loads(Fleet.of(10_000, FIGURES), FIGURES, 0.6)
    carried = [found.gyms_of_one for found in order]
    assert carried == sorted(carried)
    first = order[0].part
    busy = sum(work.erlang for work in first.work(demand(Fleet.of(int(carried[0]) + 1, FIGURES), FIGURES), FIGURES))
    assert (
        busy
        >= 1.0
        > sum(work.erlang for work in first.work(demand(Fleet.of(int(carried[0]), FIGURES), FIGURES), FIGURES))
    )


def test_a_costlier_step_makes_its_part_give_earlier() -> None:
    part = next(part for part in PARTS if part.name == "access API")
    dearer = parse(changed("look_api_ms", 10 * FIGURES["look_api_ms"]))
    assert gyms_of_one(part, dearer) < gyms_of_one(part, FIGURES)


def test_storage_is_rows_times_their_bytes_for_as_long_as_they_are_kept() -> None:
    fleet = Fleet.of(10, FIGURES)
    entries = next(kept for kept in storage(fleet, FIGURES) if kept.what == "entries")
    day = fleet.members * FIGURES["visits_per_member_year"] / 365 * (1 + FIGURES["exits_per_visit"])
    assert entries.bytes == pytest.approx(day * FIGURES["entry_row_bytes"] * FIGURES["entries_keep_days"])
    assert entries.a_year == pytest.approx(entries.bytes / FIGURES["entries_keep_days"] * 365)


@pytest.mark.parametrize(("gyms", "members"), [(0, 10), (10, 0), (-1, 5), (10, 9)])
def test_a_fleet_that_cannot_be_is_refused(gyms: int, members: int) -> None:
    with pytest.raises(BadFleet):
        Fleet(gyms, members)


def test_settings_are_those_of_the_product() -> None:
    from access_edge.pipeline import BUSY_S
    from platform_api.core.events.relay import BATCH
    from platform_api.monitoring.models import SHARDS

    assert constant("access_edge.pipeline", "BUSY_S") == BUSY_S
    assert constant("platform_api.core.events.relay", "BATCH") == BATCH
    assert constant("platform_api.monitoring.models", "SHARDS") == SHARDS
    assert subscribers("access.AccessGranted") == ("branch", "notification", "search")
    with pytest.raises(LookupError, match="assigns no NOTHING"):
        constant("access_edge.pipeline", "NOTHING")


@pytest.mark.parametrize(
    ("document_", "wrong"),
    [
        ({"measured": {"a": {"value": 1, "unit": "ms"}}}, "a lacks source, on"),
        ({"assumed": {"b": {"value": 1, "unit": "ms"}}}, "b lacks why"),
        ({"assumed": {"b": {"unit": "ms", "why": "so"}}}, "b lacks value"),
    ],
)
def test_a_figure_without_a_value_a_source_or_a_reason_is_refused(document_: dict, wrong: str) -> None:
    with pytest.raises(BadFigures, match=wrong):
        parse(document_)


def test_a_figure_that_is_missing_is_named() -> None:
    with pytest.raises(BadFigures, match="nothing is missing"):
        FIGURES["nothing"]
    with pytest.raises(BadFigures, match="hours must be shares"):
        parse(changed("hours", [0.5, 0.2])).shares("hours")
    with pytest.raises(BadFigures, match="hours is no number"):
        FIGURES["hours"]


def test_measured_figures_are_taken_over_from_the_benchmarks(tmp_path: Path) -> None:
    place = tmp_path / "figures.json"
    place.write_text(PLACE.read_text("utf-8"), "utf-8")
    told = {"centre": {"look": {"processor_ms": {"api": 7.5, "database": 0.5}}, "on": "2030-01-02"}}
    (tmp_path / "capacity.json").write_text(json.dumps(told))
    with pytest.raises(BadFigures, match=r"capacity\.json has no"):
        take(tmp_path, place)
    only = json.loads(PLACE.read_text("utf-8"))
    only["measured"] = {"look_api_ms": only["measured"]["look_api_ms"]}
    place.write_text(json.dumps(only), "utf-8")
    assert take(tmp_path, place) == ["look_api_ms"]
    taken = load(place).by_name["look_api_ms"]
    assert (taken.value, taken.on) == (7.5, "2030-01-02")


def test_every_measured_figure_says_by_which_command_and_on_which_day() -> None:
    for figure in FIGURES.by_name.values():
        assert figure.source
        assert figure.kind == "assumed" or figure.on.startswith("20"), figure.name


def test_the_check_finds_an_old_table_and_an_old_word_in_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "capacity.md"
    monkeypatch.setattr(document, "PLACE", place)
    monkeypatch.setattr(document, "TABLES", {"needs": document.needs})
    place.write_text(document.rendered("<!-- table: needs -->\n<!-- end -->\n", FIGURES))
    capacity.tables_current()
    place.write_text(place.read_text().replace("access API", "access"))
    with pytest.raises(CheckFailed, match="is old; run"):
        capacity.tables_current()
    capacity.readme_current()
    monkeypatch.setattr(capacity, "README", tmp_path / "README.md")
    capacity.README.write_text("the API gives first, at 7 gyms.")
    with pytest.raises(CheckFailed, match="it says 7 gyms"):
        capacity.readme_current()


def test_every_figure_is_used() -> None:
    code = "".join(path.read_text("utf-8") for path in PLACE.parent.rglob("*.py"))
    made = {f"whole_{relays}_{what}" for relays in (1, 4) for what in ("per_s", "p95_ms")}
    made |= {f"watch_{items}_{what}" for items in (1000, 10_000) for what in ("p50_s", "p95_s")}
    assert [name for name in FIGURES.by_name if f'"{name}"' not in code and name not in made] == []


def test_a_document_that_lacks_a_table_or_names_one_too_many_is_refused() -> None:
    text = document.PLACE.read_text("utf-8")
    with pytest.raises(document.BadDocument, match="demand"):
        document.rendered(text.replace("<!-- table: demand -->", "<!-- demand -->"), FIGURES)
    with pytest.raises(document.BadDocument, match="weather"):
        document.rendered(text + "<!-- table: weather -->\n<!-- end -->\n", FIGURES)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.01234, "0.0123"), (1.5, "1.5"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,230"), (float("inf"), "any")],
)  # fmt: skip
def test_numbers_are_shown_with_three_digits(value: float, shown: str) -> None:
    assert document.number(value) == shown


def test_the_simulation_says_what_was_measured() -> None:
    wrong = [f"{each.what}: {each.error:+.0%}" for each in validate(FIGURES, scale=0.25) if not each.holds]
    assert not wrong


def test_a_figure_that_does_not_fit_the_others_is_found_out(tmp_path: Path) -> None:
    place = tmp_path / "figures.json"
    place.write_text(json.dumps(changed("whole_1_per_s", 3 * FIGURES["whole_1_per_s"])))
    done = CliRunner().invoke(command, ["--gyms", "5", "--quick", "--no-plots", "--figures", str(place)])
    assert done.exit_code == 1
    assert "do not believe the rest" in done.output


def test_the_command_tells_a_program_what_a_fleet_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["--gyms", "20", "--members", "100000", "--quick", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["gyms"], told["members"], told["valid"]) == (20, 100000, True)
    assert told["first_to_give"] == told["parts"][0]["part"]
    assert all((tmp_path / place).stat().st_size > 10_000 for place in told["plots"])
    peak = told["scenarios"]["peak hour, 4 gyms"]
    assert peak["entries"] == peak["in_the_centre"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gyms", "0"], "--gyms"),
        (["--target", "1.5"], "--target"),
        (["--gyms", "100", "--members", "5"], "fewer members than gyms"),
        (["--figures", "/nowhere.json"], "the figures cannot be read"),
    ],
)
def test_wrong_options_are_refused_with_a_word(options: list[str], words: str) -> None:
    done = CliRunner().invoke(command, [*options, "--quick", "--no-plots"])
    assert done.exit_code != 0
    assert words in done.output
