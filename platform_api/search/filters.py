"""What a sentence says in set phrases: hours, price, distance, rating. Each is read, and taken out of the sentence.

Regular expressions and no model: such phrases are few and regular, and a wrong reading must be explainable.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from platform_api.search.lexicon import lexicon

DAYS = "월화수목금토일"
WALK_KM_PER_MINUTE = 0.075
DRIVE_KM_PER_MINUTE = 0.4
_WALK_KM = 1.2
_MIDDLE_OF_DAY = 14
_DIGITS = {"일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9, "십": 10}
_AT_MOST = r"이하|미만|이내|안쪽|안으로|아래|밑으로|밑|까지|대|안넘는|정도|언더|below|under"
_AT_LEAST = r"이상|초과|넘는|부터"


@dataclass
class Wishes:
    """What was read.

    Attributes:
        slots: hours of the week (Monday 0 h is 0, Sunday 23 h is 167) at which the branch must be open.
        now: it must be open now.
        always: it must never close.
        max_won, min_won: of a month's price.
        km: how far it may be; near: it should be close.
        order: what was asked to be best: rating, price or distance.
        traits: codes of traits said in a phrase.
        said: the phrases that were read, by wish, to be shown.
    """

    slots: tuple[int, ...] = ()
    now: bool = False
    always: bool = False
    max_won: int | None = None
    min_won: int | None = None
    min_rating: float | None = None
    km: float | None = None
    near: bool = False
    order: str | None = None
    either: bool = False
    traits: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    days: list[int] = field(default_factory=list, repr=False)
    hours: list[int] = field(default_factory=list, repr=False)


def read(text: str, today: int) -> tuple[Wishes, str]:
    """The wishes in `text`, and what is left of it, with gaps where they stood.

    Args:
        today: day of the week (0 Monday), for hours without a day.
    """
    wishes = Wishes()
    for pattern, take in _PHRASES:
        for match in pattern.finditer(text):
            if take(wishes, match):
                # As many spaces: places in the sentence stay what they are.
                text = text[: match.start()] + " " * (match.end() - match.start()) + text[match.end() :]
    _hours(wishes, today)
    return wishes, text


def _hours(wishes: Wishes, today: int) -> None:
    # A day alone asks for its middle, an hour alone for today.
    hours = wishes.hours or ([_MIDDLE_OF_DAY] if wishes.days else [])
    wishes.slots = tuple(sorted({day * 24 + hour for day in (wishes.days or [today]) for hour in hours}))


def _note(wishes: Wishes, name: str, match: re.Match[str]) -> bool:
    wishes.said[name] = match.group().strip()
    return True


def _always(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.always = True
    return _note(wishes, "hours", match)


def _now(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.now = True
    return _note(wishes, "now", match)


_HALF = {"새벽": 0, "아침": 0, "오전": 0, "낮": 12, "점심": 12, "오후": 12, "저녁": 12, "밤": 12}


def _clock(wishes: Wishes, match: re.Match[str]) -> bool:
    part, hour, until = match["part"], int(match["hour"]), match["until"]
    if hour > 24:
        return False
    if part in ("밤", "낮") and (hour == 12 or hour < 6):
        hour = 0 if part == "밤" and hour == 12 else hour if part == "밤" else 12 + hour % 12
    elif part and hour < 12:
        hour += _HALF[part]
    elif not part and hour < 6 and until:
        hour += 12
    # Open until eleven means open in the hour before it.
    wishes.hours.append((hour - 1 if until else hour) % 24)
    return _note(wishes, "time", match)


def _dawn(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.hours.append(3)
    return _note(wishes, "time", match)


def _late(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.hours.append(23)
    return _note(wishes, "time", match)


def _early(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.hours.append(6)
    return _note(wishes, "time", match)


def _day(wishes: Wishes, match: re.Match[str]) -> bool:
    word = match.group().strip()
    wishes.days.extend((5, 6) if "주말" in word else (DAYS.index(word[0]),))
    return _note(wishes, "day", match)


def _won(match: re.Match[str], group: str) -> int | None:
    number = match[group]
    if not number:
        return None
    unit = match["unit"] or ""
    if number[0] in _DIGITS:
        tens, _, ones = number.partition("십") if "십" in number else ("0", "", number)
        value = float((_DIGITS.get(tens, 1) if "십" in number and tens != "0" else 0) * 10 + (_DIGITS.get(ones, 0)))
    else:
        value = float(number.replace(",", ""))
    if "만" in unit:
        value *= 10_000
    elif "천" in unit:
        value *= 1_000
    if match["rest"]:
        value += int(match["rest"]) * 1_000
    return int(value)


def _price(wishes: Wishes, match: re.Match[str]) -> bool:
    low, high = _won(match, "low"), _won(match, "won")
    if high is None or not 1_000 <= high <= 10_000_000:
        return False
    bound = match["bound"] or ""
    if low is not None:
        wishes.min_won, wishes.max_won = low, high
    elif bound in ("이상", "초과", "넘는", "부터"):
        wishes.min_won = high
    elif bound == "대":
        # 3만원대 is 30,000 to 39,999; 10만원대 as people mean it, to 109,999 and not to 199,999.
        wishes.min_won, wishes.max_won = high, high + (9_999 if high >= 10_000 else 999)
    else:
        wishes.max_won = high - 1 if bound == "미만" else high
    return _note(wishes, "price", match)


def _distance(wishes: Wishes, match: re.Match[str]) -> bool:
    value = float(match["far"]) / (1 if match["metre"].lower().startswith(("k", "키", "킬")) else 1000)
    if not 0 < value <= 500:
        return False
    wishes.km, wishes.near = value, True
    return _note(wishes, "distance", match)


def _minutes(wishes: Wishes, match: re.Match[str]) -> bool:
    pace = DRIVE_KM_PER_MINUTE if match["how"].startswith(("차", "자동차", "운전")) else WALK_KM_PER_MINUTE
    wishes.km, wishes.near = min(200.0, int(match["minutes"]) * pace), True
    return _note(wishes, "distance", match)


def _walk(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.km, wishes.near = wishes.km or _WALK_KM, True
    return _note(wishes, "distance", match)


def _near(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.near = True
    return _note(wishes, "near", match)


def _nearest(wishes: Wishes, match: re.Match[str]) -> bool:
    wishes.near, wishes.order = True, "distance"
    return _note(wishes, "order", match)


def _rating(wishes: Wishes, match: re.Match[str]) -> bool:
    value = float(match["stars"])
    if not 1 <= value <= 5:
        return False
    wishes.min_rating = value
    return _note(wishes, "rating", match)


def _ordered(order: str) -> Callable[[Wishes, re.Match[str]], bool]:
    def take(wishes: Wishes, match: re.Match[str]) -> bool:
        wishes.order = order
        return _note(wishes, "order", match)

    return take


def _trait(code: str) -> Callable[[Wishes, re.Match[str]], bool]:
    def take(wishes: Wishes, match: re.Match[str]) -> bool:
        wishes.traits.append(code)
        return True

    return take


def _either(wishes: Wishes, match: re.Match[str]) -> bool:
    word = match.string[: match.end()].rpartition(" ")[2]
    if lexicon().knows(word):
        return False  # 사우나 is no choice of 사우
    wishes.either = True
    return True


_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d{1,8}(?:\.\d{1,2})?|[이삼사오육칠팔구]?십?[일이삼사오육칠팔구]?(?=만))"
_PHRASES: tuple[tuple[re.Pattern[str], Callable[[Wishes, re.Match[str]], bool]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), take)
    for pattern, take in (
        (r"24\s*시간?(?:\s*(?:영업|운영|오픈|하는))?|이십사\s*시간|스물네\s*시간|연중\s*무휴|24\s*(?:h|hours?|hr)\b|24/7", _always),
        (
            rf"(?:(?:한\s*달에?|월|매월|월회비|회비|가격)\s*)?(?:(?P<low>{_NUMBER})\s*[~-]\s*)?(?P<won>{_NUMBER})\s*"
            rf"(?:(?P<unit>만|천)\s*(?:(?P<rest>\d)천)?\s*원?|원)\s*(?P<bound>{_AT_MOST}|{_AT_LEAST})?(?:로|의|인)?",
            _price,
        ),
        (r"(?P<how>걸어서|도보로?|차로|자동차로?|운전해서)\s*(?P<minutes>\d{1,3})\s*분(?:\s*(?:거리|이내|안|컷))?", _minutes),
        (
            r"(?P<far>\d{1,5}(?:\.\d{1,2})?)\s*(?P<metre>km|키로미터|키로|킬로미터|킬로|미터|m)(?![a-z])\s*(?:이내|내|안쪽|안|근처|반경|거리)?",
            _distance,
        ),
        (r"걸어서(?:\s*(?:갈|다닐)\s*(?:수\s*있는|만한))?|도보로?|walking distance", _walk),
        (r"(?:가장|제일|젤)\s*(?:가까운|가까이)|nearest|closest", _nearest),
        (r"근처|주변|인근|부근|가까운|가까이|가깝고|바로\s*옆|옆에?|앞에?(?=\s|$)|near\s*by|nearby|\bnear\b|around", _near),
        (r"(?:별점|평점|평균)?\s*(?P<stars>[1-5](?:\.\d)?)\s*점\s*(?:이상|넘는|대)", _rating),
        (
            r"(?:별점|평점|평가|후기|리뷰|평|인기)(?:이|가)?\s*(?:제일|가장)?\s*(?:좋은|높은|많은|괜찮은|순)|유명한|인기\s*있는|잘하는|top rated",
            _ordered("rating"),
        ),
        (r"(?:가장|제일|젤)\s*(?:싼|저렴한)|최저가|cheapest", _ordered("price")),
        (r"(?:지금|현재|당장|바로)\s*(?:영업\s*중?(?:인|하는)?|여는|열려\s*있는|열린|문\s*연|문\s*여는|오픈한?|운동할)?|영업\s*중(?:인)?|문\s*연\s*곳|open\s*now", _now),
        (
            r"(?P<part>새벽|아침|오전|낮|점심|오후|저녁|밤)?\s*(?P<hour>\d{1,2})\s*시(?:\s*반)?(?!간)\s*(?P<until>까지)?(?:에도?|부터)?"
            r"(?:\s*(?:여는|문\s*여는|열려\s*있는|하는|영업하는|오픈))?",
            _clock,
        ),
        (r"새벽(?:에도?|까지|시간)?(?:\s*(?:여는|열려\s*있는|문\s*여는|하는|영업하는))?", _dawn),
        (r"심야(?:에도?)?|밤\s*늦게(?:까지)?|늦은\s*(?:밤|시간)(?:까지|에도?)?|밤에도|야간(?:에도?)?|퇴근\s*후\s*늦게|late night", _late),
        (r"이른\s*아침(?:에도?)?|아침\s*일찍|출근\s*전(?:에)?|early morning", _early),
        (r"(?:[월화수목금토일]요일|주말)(?:에도?|에만)?(?:\s*(?:여는|문\s*여는|열려\s*있는|하는|영업하는))?", _day),
        (
            r"안\s*(?:붐비|복잡|혼잡)\S*|붐비지\s*않\S*|복잡하지\s*않\S*|사람\s*(?:이\s*)?(?:적은|없는|많지\s*않은|별로\s*없는)|기다리지\s*않\S*",
            _trait("uncrowded"),
        ),
        (r"시끄럽지\s*않\S*|안\s*시끄\S*", _trait("quiet")),
        (r"살\s*빼\S*|살을\s*빼\S*", _trait("diet")),
        (r"새로\s*(?:생긴|연|오픈한)|새로운\s*곳|최근에?\s*(?:생긴|오픈한)", _trait("new")),
        (r"비싸지\s*않\S*|부담\s*없는|싸고|돈\s*없는", _trait("value")),
        (r"혼자\s*(?:하기|운동하기)\s*좋은", _trait("uncrowded")),
        (r"(?<=[가-힣])(?:이나|나|또는|아니면|혹은)(?=\s)|\s(?:또는|아니면|혹은|or)\s", _either),
    )
)  # fmt: skip
