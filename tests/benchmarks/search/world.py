"""Branches of an imaginary chain, drawn from a seed: for the labelled queries (a few hundred, kept in data/branches.json)
and for the measurement of speed (up to 1,000,000).

`truth` says what a branch is like; its page and its reviews are written from it, as people write: an amenity is named in
one of several ways or not at all, a trait is told in a sentence or two, and what is missing is complained about. Labels
are made from `truth` and plain facts; neither the product's lexicon nor its ranking has a part in them.
"""

import json
import math
import random
from collections.abc import Iterator
from importlib import resources
from typing import Any

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BRANDS = (
    ("스마트피트니스", "Smart Fitness"), ("머슬팩토리", "Muscle Factory"), ("바디스튜디오", "Body Studio"), ("핏플레이스", "Fit Place"),
    ("파워존짐", "Power Zone Gym"), ("웰니스클럽", "Wellness Club"), ("블랙짐", "Black Gym"), ("온핏", "Onfit"), ("리본휘트니스", "Reborn Fitness"),
    ("에너지24", "Energy 24"), ("굿바디", "Good Body"), ("아이언하우스", "Iron House"),
)  # fmt: skip
AMENITIES = {
    "parking": ("주차 가능", "건물 지하에 무료 주차장이 있습니다", "주차 2시간 무료"), "shower": ("샤워실 완비", "깔끔한 샤워 시설"),
    "locker": ("개인 락커", "사물함 제공"), "towel": ("수건 무료 제공",), "wear": ("운동복 무료 대여",), "sauna": ("건식 사우나", "사우나 운영"),
    "pool": ("25m 실내 수영장", "수영장 운영"), "pt": ("1:1 PT", "전문 트레이너의 개인 레슨"), "gx": ("다양한 GX 수업", "그룹 수업 무료"),
    "pilates": ("기구 필라테스", "필라테스 수업"), "yoga": ("요가 수업", "핫요가 클래스"), "spinning": ("스피닝 클래스",), "crossfit": ("크로스핏 박스",),
    "golf": ("스크린 골프", "실내 골프 연습장"), "squash": ("스쿼시 코트",), "climbing": ("볼더링 암벽",), "boxing": ("복싱 클래스", "복싱 링"),
    "zumba": ("줌바 댄스",), "free_weights": ("넓은 프리웨이트 존", "덤벨 50kg까지, 파워랙 6대"), "treadmill": ("러닝머신 30대", "유산소 존"),
    "stretching": ("스트레칭 존",), "inbody": ("인바디 측정 무료",), "women_only": ("여성 전용 지점입니다",), "women_zone": ("여성 전용 존",),
    "kids": ("키즈룸 운영", "아이 돌봄 가능"), "cafe": ("프로틴 카페",), "accessible": ("엘리베이터와 휠체어 경사로",), "physio": ("재활 운동 전문",),
    "massage": ("안마의자",), "tanning": ("태닝룸",), "day_pass": ("일일권 판매",),
}  # fmt: skip
COMMON = ("shower", "locker", "towel", "wear", "pt", "free_weights", "treadmill", "inbody", "parking", "stretching")
TRAITS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "quiet": (("조용한 분위기에서 운동에 집중할 수 있습니다.",), ("조용해서 집중이 잘 돼요", "음악 소리가 크지 않고 조용합니다", "한적해서 좋아요")),
    "spacious": (("300평의 넓은 공간을 자랑합니다.",), ("공간이 넓어서 쾌적해요", "매장이 정말 넓습니다", "널찍해서 답답하지 않아요")),
    "clean": (("매일 두 번 소독하는 깨끗한 시설입니다.",), ("항상 깨끗하게 관리돼요", "청결해요", "샤워실까지 깔끔합니다")),
    "equipment": (("최신 머신 80대를 갖추었습니다.",), ("기구가 다양하고 최신이에요", "머신 종류가 많아요", "장비 관리가 잘 됩니다")),
    "uncrowded": (("회원 수를 제한하여 붐비지 않습니다.",), ("사람이 많지 않아 기다릴 일이 없어요", "한산해서 여유롭게 운동해요", "저녁에도 여유가 있어요")),
    "beginner": (("처음 오신 분도 쉽게 시작하는 초보자 프로그램.",), ("초보자도 부담 없이 다닐 수 있어요", "헬린이에게 추천합니다", "입문자에게 좋아요")),
    "women_friendly": (("여성 회원이 많습니다.",), ("여자 혼자 다니기 편해요", "여성 회원이 많아서 좋아요")),
    "value": (("합리적인 가격으로 모십니다.",), ("가성비 최고예요", "가격이 저렴해요", "이 가격에 이 시설이면 만족")),
    "friendly": (("친절한 상담을 약속합니다.",), ("직원분들이 친절해요", "트레이너 선생님이 친절하게 알려주세요", "응대가 상냥합니다")),
    "diet": (("체중 감량 프로그램을 운영합니다.",), ("다이어트 성공했어요", "여기서 10kg 감량했어요")),
    "serious": (("보디빌딩 대회 선수들이 찾는 곳.",), ("벌크업하기 좋은 곳", "파워리프팅 하시는 분들 많아요", "근육 키우기 좋은 분위기")),
    "view": (("통유리로 보이는 전망이 자랑입니다.",), ("뷰가 끝내줘요", "전망이 좋아서 러닝할 맛이 나요")),
    "social": (("회원 모임이 활발합니다.",), ("같이 운동하는 모임이 있어서 재밌어요", "친구랑 다니기 좋아요")),
    "senior": (("어르신을 위한 저강도 프로그램.",), ("부모님이 다니기 좋아하세요", "어르신들도 많이 오세요")),
}  # fmt: skip
PLAIN = (
    "잘 다니고 있습니다",
    "집에서 가까워서 등록했어요",
    "무난합니다",
    "만족해요",
    "또 갈게요",
    "보통이에요",
    "그럭저럭 괜찮아요",
)
COMPLAINTS = {
    "parking": ("주차가 안 돼서 불편해요", "주차장이 없는 게 아쉬워요"), "shower": ("샤워실이 없어요",), "sauna": ("사우나가 없어서 아쉽네요",),
    "pool": ("수영장은 없습니다",), "quiet": ("음악이 너무 시끄러워요",), "clean": ("청소가 좀 아쉬워요",), "uncrowded": ("저녁에 사람이 너무 많아요",),
}  # fmt: skip
# Dong of stations whose neighbourhood bears another name.
DONGS = {
    "강남역": "역삼동", "선릉역": "대치동", "홍대입구역": "서교동", "합정역": "합정동", "건대입구역": "화양동", "성수역": "성수동", "서면역": "부전동",
    "해운대역": "우동", "판교역": "백현동", "잠실역": "신천동", "신촌역": "창천동", "여의도역": "여의도동", "교대역": "서초동", "이대역": "대현동",
    "디지털미디어시티역": "상암동", "구로디지털단지역": "구로동", "가산디지털단지역": "가산동", "서울대입구역": "봉천동", "코엑스": "삼성동",
}  # fmt: skip


def places() -> list[dict[str, Any]]:
    """Spots and areas of the map."""
    source = resources.files("platform_api.search") / "data" / "places.json"
    return list(json.loads(source.read_text(encoding="utf-8")))


def branches(count: int, seed: int = 20261124, most_reviews: int = 40) -> list[dict[str, Any]]:
    """`count` branches, each of them near a spot, spread evenly."""
    return list(each(count, seed, most_reviews))


def each(count: int, seed: int = 20261124, most_reviews: int = 40, between: str = ", ") -> Iterator[dict[str, Any]]:
    """The same, one by one: a million of them are 5 GB. `between` parts the amenities that a page tells."""
    rng = random.Random(seed)
    everywhere = places()
    spots = [place for place in everywhere if place["kind"] == "spot"]
    areas = [place for place in everywhere if place["kind"] == "area" and len(place["terms"]) == 2]
    numbers: dict[str, int] = {}
    for i in range(count):
        yield _branch(rng, i, spots[i % len(spots)], areas, numbers, most_reviews, between)


def _branch(
    rng: random.Random,
    i: int,
    spot: dict[str, Any],
    areas: list[dict[str, Any]],
    numbers: dict[str, int],
    most_reviews: int,
    between: str,
) -> dict[str, Any]:
    area = min(areas, key=lambda a: (a["lat"] - spot["lat"]) ** 2 + (a["lon"] - spot["lon"]) ** 2)
    far, turn = rng.uniform(0.05, 1.1 if i < 2000 else 6.0), rng.uniform(0, 2 * math.pi)
    latitude = spot["lat"] + far * math.sin(turn) / 111.2
    longitude = spot["lon"] + far * math.cos(turn) / (111.2 * math.cos(math.radians(spot["lat"])))
    province, district = area["terms"]
    stem = spot["name"].removesuffix("역")
    dong = DONGS.get(spot["name"], stem if stem.endswith("동") else f"{stem}동")
    brand, brand_en = rng.choice(BRANDS)
    english = next((alias for alias in spot["aliases"] if alias.isascii()), "")
    number = numbers[stem + brand] = numbers.get(stem + brand, 0) + 1
    name = f"{brand} {stem}점" if number == 1 else f"{brand} {stem}{number}호점"
    truth = {
        trait: round(rng.uniform(0.65, 1.0), 2) for trait in rng.sample(sorted(TRAITS), rng.choice((0, 1, 1, 2, 2, 3)))
    }
    amenities = _amenities(rng)
    won = rng.choice((29_000, 33_000, 39_000, 45_000, 49_000, 55_000, 59_000, 69_000, 79_000, 99_000, 129_000))
    if "value" in truth:
        won = min(won, rng.choice((29_000, 33_000, 39_000)))
    hours = _hours(rng)
    quality = rng.gauss(4.0, 0.5)
    stars, texts = _reviews(rng, truth, amenities, quality, most_reviews)
    return {
        "branch_id": f"b{i:06d}", "name": name, "name_en": f"{brand_en} {english.title()}".strip(),
        "description": _page(rng, truth, amenities, hours, stem, between), "address": f"{_full(province)} {district} {dong} {rng.randint(1, 999)}-{rng.randint(1, 60)}",
        "region": f"{province} {district}", "latitude": round(latitude, 6), "longitude": round(longitude, 6), "timezone": "Asia/Seoul",
        "hours": hours, "amenities": amenities,
        "prices": [{"plan": "1개월", "won": won, "months": 1}, {"plan": "12개월", "won": int(round(won * 12 * 0.8, -3)), "months": 12}] if rng.random() < 0.5 else [{"plan": "1개월", "won": won, "months": 1}],
        "ratings": stars, "reviews": texts, "truth": truth,
        "measured": _measured(rng, truth), "days_old": rng.randint(0, 500),
    }  # fmt: skip


def _measured(rng: random.Random, truth: dict[str, float]) -> dict[str, float]:
    """Traits as measured from visits and reviews: half of them never, the others not exactly."""
    return {
        trait: round(min(1.0, max(0.0, truth.get(trait, rng.uniform(0.1, 0.5)) + rng.gauss(0, 0.15))), 2)
        for trait in TRAITS
        if rng.random() < 0.5
    }


_FULL = {
    "서울": "서울특별시", "부산": "부산광역시", "대구": "대구광역시", "인천": "인천광역시", "광주": "광주광역시", "대전": "대전광역시", "울산": "울산광역시",
    "경기": "경기도", "강원": "강원특별자치도", "충북": "충청북도", "충남": "충청남도", "전북": "전북특별자치도", "전남": "전라남도", "경북": "경상북도",
    "경남": "경상남도", "제주": "제주특별자치도",
}  # fmt: skip


def _full(province: str) -> str:
    return _FULL.get(province, province)


def _amenities(rng: random.Random) -> list[str]:
    chosen = {code for code in COMMON if rng.random() < 0.55}
    chosen |= {code for code in AMENITIES if code not in COMMON and rng.random() < 0.13}
    if "women_only" in chosen and rng.random() < 0.5:
        chosen.discard("women_only")
    return sorted(chosen)


def _hours(rng: random.Random) -> dict[str, Any] | None:
    kind = rng.random()
    if kind < 0.35:
        return None
    weekday = (
        ["06:00", "23:00"]
        if kind < 0.65
        else ["05:30", "24:00"]
        if kind < 0.8
        else ["09:00", "22:00"]
        if kind < 0.93
        else ["10:00", "02:00"]
    )
    weekend = [] if rng.random() < 0.25 else [["09:00", "18:00"]]
    saturday = [["09:00", "20:00"]] if rng.random() < 0.8 else weekend
    found = {day: [weekday] for day in DAYS[:5]}
    return {**found, **({"sat": saturday} if saturday else {}), **({"sun": weekend} if weekend else {})}


def _page(
    rng: random.Random, truth: dict[str, float], amenities: list[str], hours: Any, stem: str, between: str
) -> str:
    told = [rng.choice(AMENITIES[code]) for code in amenities if rng.random() < 0.6]
    rng.shuffle(told)
    parts = [f"{stem} 근처의 헬스장입니다." if rng.random() < 0.6 else "운동하기 좋은 피트니스 센터입니다."]
    parts += [rng.choice(TRAITS[trait][0]) for trait in truth if rng.random() < 0.6]
    if told:
        parts.append(between.join(told) + ".")
    if hours is None and rng.random() < 0.7:
        parts.append(rng.choice(("24시간 연중무휴로 운영합니다.", "언제든 오세요, 24시간 열려 있습니다.")))
    return " ".join(parts)


def _reviews(
    rng: random.Random, truth: dict[str, float], amenities: list[str], quality: float, most: int
) -> tuple[list[int], list[str]]:
    count = min(most, int(rng.expovariate(1 / 10)))
    stars, texts = [], []
    for _ in range(count):
        rating = max(1, min(5, round(rng.gauss(quality, 0.8))))
        parts = [rng.choice(PLAIN)] if rng.random() < 0.5 else []
        parts += [rng.choice(TRAITS[trait][1]) for trait, value in truth.items() if rng.random() < 0.4 * value]
        missing = [c for c in COMPLAINTS if c not in amenities and c not in truth]
        if missing and (rating <= 3 or rng.random() < 0.1):
            parts.append(rng.choice(COMPLAINTS[rng.choice(missing)]))
        stars.append(rating)
        texts.append(". ".join(parts) or rng.choice(PLAIN))
    return stars, texts
