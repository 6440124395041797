"""Fills the branch's gallery with members who are never there, so that strangers meet as many templates as in a real one.

Their vectors belong to nobody (see ml_bentos.face.synthetic). They are written by access's own code into its gallery
and reach the gate node by the change feed, sealed, like everybody's.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ml_bentos.face import FaceModel
from ml_bentos.face.population import Population
from ml_bentos.face.synthetic import filler, uniform
from platform_api.access import face_models, feed, gallery
from platform_api.access.models import Enrolment, Member, Membership, TemplateRow
from platform_api.core.database import unit_of_work
from platform_api.core.models import new_id

KINDS = ("uniform", "population")
_PLAN = "demo-nobody-"
_BATCH = 500


def fill(model: FaceModel, branch_id: str, kind: str, wanted: int, tick: Callable[[int], None]) -> None:
    """Bring the number of members who are nobody to `wanted`, all of one kind; `tick` gets how many were added or removed.

    Args:
        kind: "uniform", evenly over all directions, or "population", drawn like people's templates (harder).
    """
    for other in KINDS:
        there = _count(other)
        surplus = there - (wanted if other == kind else 0)
        if surplus > 0:
            _remove(branch_id, other, surplus, tick)
    there = _count(kind)
    if there < wanted:
        _add(model, branch_id, kind, there, wanted - there, tick)


def _count(kind: str) -> int:
    with unit_of_work("access") as session:
        query = select(func.count()).select_from(Membership).where(Membership.plan == _PLAN + kind)
        return session.scalar(query) or 0


def _add(model: FaceModel, branch_id: str, kind: str, there: int, count: int, tick: Callable[[int], None]) -> None:
    # The first `there` of the sequence are in the gallery already.
    total = there + count
    population = kind == "population"
    drawn = filler(Population.for_version(model.version), total) if population else uniform(total, model.dim)
    drawn = drawn[there:]
    today = datetime.now(UTC).date()
    for start in range(0, count, _BATCH):
        batch = drawn[start : start + _BATCH]
        with unit_of_work("access") as session:
            face_models.ensure(session, model.version)
            members, memberships, templates = [], [], []
            for vector in batch:
                member_id, template_id = new_id(), new_id()
                members.append(Member(member_id=member_id, version=1))
                memberships.append(
                    Membership(
                        member_id=member_id,
                        plan=_PLAN + kind,
                        valid_from=today - timedelta(days=1),
                        valid_until=today + timedelta(days=3650),
                        branch_ids=[branch_id],
                    )
                )
                templates.append(gallery.Template(template_id, member_id, model.version, vector[None]))
            session.add_all(members)
            session.flush()
            session.add_all(memberships)
            for template in templates:
                gallery.store(session, template)
                session.add(
                    Enrolment(
                        member_id=template.member_id,
                        model_version=model.version,
                        version=1,
                        template_id=template.template_id,
                    )
                )
            session.flush()
            _tell(session, branch_id, members, memberships, [t.template_id for t in templates], deleted=False)
        tick(len(batch))


def _remove(branch_id: str, kind: str, count: int, tick: Callable[[int], None]) -> None:
    with unit_of_work("access") as session:
        chosen = session.scalars(select(Membership).where(Membership.plan == _PLAN + kind).limit(count)).all()
        ids = [membership.member_id for membership in chosen]
        templates = set(
            session.scalars(
                delete(TemplateRow).where(TemplateRow.member_id.in_(ids)).returning(TemplateRow.template_id)
            )
        )
        members = session.scalars(select(Member).where(Member.member_id.in_(ids))).all()
        _tell(session, branch_id, members, chosen, sorted(templates), deleted=True)
        for table in (Enrolment, Membership, Member):
            session.execute(delete(table).where(table.member_id.in_(ids)))
    tick(count)


def _tell(
    session: Session,
    branch_id: str,
    members: Sequence[Member],
    memberships: Sequence[Membership],
    templates: Sequence[str],
    deleted: bool,
) -> None:
    feed.touch(session, "member", [member.member_id for member in members], [branch_id], deleted)
    feed.touch(session, "membership", [row.membership_id for row in memberships], [branch_id], deleted)
    feed.touch(session, "template", list(templates), [branch_id], deleted)
