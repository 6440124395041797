"""Checks of what goes into a version and of what it takes with it; those of its figures are in `checks`."""

from typing import Any

import dagster as dg

from data_assets.checking import result
from data_assets.faces import versions
from data_assets.faces.dataset import dataset
from data_assets.faces.gallery import gallery
from data_assets.faces.model import model
from platform_api.core.storage import ObjectStore

NO_LEAK = "no_member_in_two_splits"
IMPROVED = "better_for_members_not_taught_with"
COMPLETE = "everybody_is_in_the_gallery"


@dg.asset_check(asset=dataset, name=NO_LEAK, blocking=True)
def no_leak(dataset: dict[str, Any], store: dg.ResourceParam[ObjectStore]) -> dg.AssetCheckResult:
    """Nobody, and no enrolment, is in two splits."""
    found = versions.leaks(versions.read(store, dataset["dataset"]).rows)
    return result(
        not found,
        f"학습과 시험에 함께 들어간 회원이나 등록 {len(found)}개: 시험 수치를 믿을 수 없습니다.",
        f"{len(found)} members or enrolments are in two splits: figures of the test would flatter.",
        found=len(found),
    )


@dg.asset_check(asset=model, name=IMPROVED, blocking=True)
def improved(model: dict[str, Any]) -> dg.AssetCheckResult:
    """Some epoch did better than the published network with members that were held back."""
    return result(
        model["improved"],
        "학습해도 처음보다 나아지지 않았습니다. 서비스 중인 모델을 그대로 씁니다.",
        "Teaching did no good to members it was not taught with; the live version stays.",
        improved=model["improved"],
    )


@dg.asset_check(asset=gallery, name=COMPLETE, blocking=True)
def complete(gallery: dict[str, Any]) -> dg.AssetCheckResult:
    """Nobody who is enrolled lacks a template under the new version: at the gate they would be strangers."""
    lacking, all_ = gallery["lacking"], gallery["lacking"] + gallery["embedded"] + gallery["there_before"]
    return result(
        lacking == 0,
        f"등록 {all_}건 중 {lacking}건의 사진이 없거나 손상되어 새 모델로 옮길 수 없습니다. 그 회원의 얼굴을 다시 등록하게 한 뒤 다시 실행하세요.",
        f"Of {all_} enrolments {lacking} have no crop that shows a face; let these members enrol anew (see lacking_enrolments), "
        "and run it again: the gallery goes on where it is.",
        lacking=lacking,
        enrolments=all_,
    )


CHECKS = [no_leak, improved, complete]
