"""What the data side learns of members from all their visits together, handed in whole; ranking goes by it (`members.taste`).

Members come by pseudonym. Nothing is kept of one who has been erased, nor of one who is not in the newest set any more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import null, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from platform_api.core import clock
from platform_api.core.errors import Problem
from platform_api.core.pseudonyms import Pseudonyms, UnknownPseudonym
from platform_api.core.security import Principal, audit
from platform_api.search.documents import SAME_TRAIT
from platform_api.search.models import Member


def keep(
    session: Session,
    who: Principal,
    pseudonyms: Pseudonyms,
    version: str,
    items: Sequence[Mapping[str, Any]],
    last: bool,
) -> dict[str, int]:
    """Take a part of a set.

    Args:
        items: {member: pseudonym, branches: {branch_id: 0..1}, traits: {code: -1..1}}.
        last: the set is whole; what other sets said of other members is forgotten.

    Returns:
        kept, passed over (erased), and forgotten members.

    Raises:
        Problem: 422 a pseudonym that is none.
    """
    by_member: dict[str, Mapping[str, Any]] = {}
    for number, item in enumerate(items):
        try:
            by_member[pseudonyms.member_of(item["member"])] = item
        except UnknownPseudonym as error:
            raise Problem(422, errors={"json": {"items": {str(number): {"member": ["Not a pseudonym."]}}}}) from error
    now = clock.now()
    kept = 0
    # In order, so that two transactions never wait for each other.
    for member_id, item in sorted(by_member.items()):
        learnt = {
            "learnt": {"branches": dict(item["branches"]), "traits": _by_our_names(item["traits"])},
            "learnt_version": version,
            "learnt_at": now,
        }
        row = insert(Member).values(member_id=member_id, **learnt)
        row = row.on_conflict_do_update(index_elements=["member_id"], set_=learnt, where=Member.erased_at.is_(None))
        kept += session.execute(row.returning(Member.member_id)).first() is not None
    gone = 0
    if last:
        others = update(Member).where(Member.learnt_at.is_not(None), Member.learnt_version != version)
        emptied = others.values(learnt=null(), learnt_version=None, learnt_at=None)
        gone = len(session.execute(emptied.returning(Member.member_id)).all())
        audit.record(session, who.id, "recommendations.keep", version, {"forgotten": gone})
    return {"kept": kept, "passed_over": len(by_member) - kept, "forgotten": gone}


def _by_our_names(traits: Mapping[str, float]) -> dict[str, float]:
    return {SAME_TRAIT.get(code, code): value for code, value in traits.items()}
