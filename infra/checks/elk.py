"""The files for Elasticsearch, Logstash, Kibana and Filebeat: current, readable, and meeting what the product logs.

The template and the searches are tried on a server that answers as Elasticsearch; Logstash's pipeline is read by a parser made
of Logstash's grammar. Filebeat, Logstash and Kibana themselves are not run here, nor is the lifecycle policy taken by a server.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from infra.checks.check import Check, CheckFailed
from infra.observability.elk import kibana, template, trial
from infra.observability.elk.__main__ import FOLDER, files

PLUGINS = {"beats", "drop", "mutate", "elasticsearch"}
"""All in Logstash's own distribution."""
PIPELINE = FOLDER / "logstash" / "smartfit.conf"
FILEBEAT = FOLDER / "filebeat" / "filebeat.yml"
_FIELD = re.compile(r"([@\w.]+):")
_UNITS = re.compile(r"\d+(d|h|m|gb)")


def checks() -> Iterator[Check]:
    """Some for each of the four."""
    yield Check("elk: what follows from code is current", check_current)
    yield Check(
        "elk: every line of the product is taken into a strict index, and every saved search finds its lines",
        check_taken,
    )
    yield Check("elk: every field of a saved search is in the template", check_searches)
    yield Check("elk: the lifecycle rolls over, and deletes later than it rolls over", check_lifecycle)
    yield Check("elk: Logstash's pipeline is one", check_pipeline)
    yield Check("elk: Logstash's settings keep what Elasticsearch refuses", check_logstash)
    yield Check("elk: Filebeat hands on each field of the template, and no other", check_filebeat)


def check_current() -> None:
    """CheckFailed where a file has to be written anew."""
    old = [
        file.name for file, text in files().items() if not file.is_file() or file.read_text(encoding="utf-8") != text
    ]
    if old:
        raise CheckFailed(f"{', '.join(old)}: old; run python -m infra.observability.elk")


def check_taken() -> None:
    """CheckFailed with the server's words."""
    try:
        with trial.elasticsearch() as url:
            if found := trial.refused(url, trial.lines()):
                raise CheckFailed("; ".join(found[:5]))
            # It refuses what it has to: else the above would say nothing.
            strange = [{"@timestamp": "2026-01-31T00:00:00Z", **more} for more in ({"new": 1}, {"smartfit.port": "no"})]
            if len(trial.refused(url, strange)) != len(strange):
                raise CheckFailed("the index is not strict")
            if none := [search.id for search in kibana.SEARCHES if not trial.matching(url, search.query)]:
                raise CheckFailed(f"finds nothing: {', '.join(none)}")
    except trial.Unavailable as problem:
        raise CheckFailed(str(problem)) from None


def check_searches() -> None:
    """CheckFailed: which field is not there."""
    *objects, summary = [json.loads(line) for line in kibana.ndjson().splitlines()]
    if summary["exportedCount"] != len(objects):
        raise CheckFailed("the summary counts other objects")
    ids = {each["id"] for each in objects}
    for each in objects:
        if lost := {reference["id"] for reference in each["references"]} - ids:
            raise CheckFailed(f"{each['id']} needs {', '.join(lost)}")
    for search in kibana.SEARCHES:
        if unknown := {*search.columns, *_FIELD.findall(search.query)} - set(template.FIELDS):
            raise CheckFailed(f"{search.id}: {', '.join(sorted(unknown))}")


def check_lifecycle() -> None:
    """CheckFailed where lines would stay for ever, or go at once."""
    phases = template.lifecycle()["policy"]["phases"]
    rollover = phases["hot"]["actions"]["rollover"]
    ages = [rollover["max_age"], phases["warm"]["min_age"], phases["delete"]["min_age"]]
    sizes = [rollover["max_primary_shard_size"]]
    if wrong := [each for each in (*ages, *sizes) if not _UNITS.fullmatch(each)]:
        raise CheckFailed(f"no time or size: {', '.join(wrong)}")
    days = [int(age.removesuffix("d")) for age in ages]
    if days != sorted(days) or "delete" not in phases["delete"]["actions"]:
        raise CheckFailed("the phases are not in order")
    if template.index_template()["template"]["settings"]["index.lifecycle.name"] != template.POLICY:
        raise CheckFailed("the template names another policy")


def check_pipeline() -> None:
    """CheckFailed: what the parser says, a plugin that is not there, or a stream that the template does not match."""
    from logstash_pipeline_parser import Pipeline  # type: ignore[import-untyped]
    from logstash_pipeline_parser.tree import ParseError  # type: ignore[import-untyped]

    try:
        pipeline = Pipeline.from_file(PIPELINE)
        tree = pipeline.parse()
    except ParseError as problem:
        raise CheckFailed(f"{PIPELINE.name}: {problem}") from None
    if [section for section, _ in tree] != ["input", "filter", "output"]:
        raise CheckFailed("input, filter and output are wanted, in this order")
    if unknown := set(_plugins(tree)) - PLUGINS:
        raise CheckFailed(f"no plugins known here: {', '.join(sorted(unknown))}")
    named = {name: next(pipeline.search(f"output.elasticsearch.data_stream{name}"))[1][0] for name in _STREAM}
    if named[""] != "true" or "-".join(named[part] for part in _STREAM[1:]) != template.DATA_STREAM:
        raise CheckFailed(f"it writes to another stream than {template.DATA_STREAM}")


_STREAM = ("", "_type", "_dataset", "_namespace")


def _plugins(tree: list[Any]) -> Iterator[str]:
    """Names of the plugins in sections and below conditions."""
    for _, body in tree:
        yield from _in_body(body)


def _in_body(body: list[Any]) -> Iterator[str]:
    for name, inner in body:
        if name in ("if", "else if", "else"):
            yield from _in_body(inner[-1][0])
        else:
            yield name


def check_logstash() -> None:
    """CheckFailed where the queue or the dead letters are off, or the pipeline is another file."""
    settings = _yaml(FOLDER / "logstash" / "logstash.yml")
    wanted = {"dead_letter_queue.enable": True, "queue.type": "persisted", "pipeline.ecs_compatibility": "v8"}
    if wrong := {name for name, value in wanted.items() if settings.get(name) != value}:
        raise CheckFailed(", ".join(sorted(wrong)))
    (pipeline,) = _yaml(FOLDER / "logstash" / "pipelines.yml")
    if Path(pipeline["path.config"]).name != PIPELINE.name:
        raise CheckFailed(f"pipelines.yml names {pipeline['path.config']}")


def check_filebeat() -> None:
    """CheckFailed where a field would be lost on the way, or one handed on that the index refuses."""
    document = _yaml(FILEBEAT)
    (kept,) = [step["include_fields"]["fields"] for step in document["processors"] if "include_fields" in step]
    # Filebeat keeps the time always; what names the data stream is Logstash's.
    fields = {name for name in template.FIELDS if name != "@timestamp" and not name.startswith("data_stream.")}
    if lost := {name for name in fields if not any(_within(name, each) for each in kept)}:
        raise CheckFailed(f"lost on the way: {', '.join(sorted(lost))}")
    # Where Filebeat adds to an object as well, the fields have to be named one by one.
    foreign = {each for each in kept if each not in fields and any(_within(name, each) for name in template.ADDED)}
    if more := foreign | {each for each in kept if not any(_within(name, each) for name in fields)}:
        raise CheckFailed(f"not in the template: {', '.join(sorted(more))}")
    for each in document["filebeat.inputs"]:
        options = [step["ndjson"] for step in each["parsers"] if "ndjson" in step]
        if [(option["target"], option["expand_keys"], option["overwrite_keys"]) for option in options] != [
            ("", True, True)
        ]:
            raise CheckFailed(f"{each['id']} does not read lines of JSON")


def _within(field: str, name: str) -> bool:
    return field == name or field.startswith(f"{name}.")


def _yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as problem:
        raise CheckFailed(f"{file.name}: {problem}") from None
