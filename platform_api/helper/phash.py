"""Pictures known again: pHash in two sizes, and an index that finds what is near among millions.

pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010) in the DCT form of the library
imagehash. Two stages, because one is not enough: among 1,488 real photos of laundry, 300 pairs of different photos (of 1.1
million) lie within 10 of 64 bits, so that after a few months an honest photo would always find a double. All re-encoded
copies lie within 10 bits, too, and within 26 of the 256 bits of the finer hash, where the nearest two different photos are
48 apart. So 64 bits find the candidates, and 256 bits decide.

The index is multi-index hashing (Norouzi, Punjani, Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing",
2014): hashes within 10 bits of each other differ in at most 2 bits in at least one of four bands of 16 bits. So all values
within 2 bits of each band are looked up (548 of them), and what they find is compared in full.
"""

import itertools

import imagehash
from PIL import Image
from sqlalchemy import bindparam, text
from sqlalchemy.orm import Session

NEAR_BITS = 10
"""Of 64: farther apart is no candidate."""
NEAR_BITS_FINE = 40
"""Of 256: farther apart is another picture."""

BANDS, BAND_BITS = 4, 16
_FINE_SIZE = 16
_FLIPS = [
    sum(1 << bit for bit in bits)
    for r in range(NEAR_BITS // BANDS + 1)
    for bits in itertools.combinations(range(BAND_BITS), r)
]

# Written as the expressions of the indexes are (migration 0001).
_BANDS_NEAR = " OR ".join(
    f"substring(phash FROM {1 + band * BAND_BITS} FOR {BAND_BITS})::integer = ANY(:probes_{band})"
    for band in range(BANDS)
).replace("::integer", "\\:\\:integer")
# Materialized, or the planner, hoping for an early end by LIMIT, would read the whole table.
_NEAR = text(
    f"WITH candidate AS MATERIALIZED (SELECT phash, phash_fine FROM photo WHERE {_BANDS_NEAR})"  # noqa: S608 - numbers of ours
    " SELECT 1 FROM candidate WHERE bit_count(phash # CAST(:phash AS bit(64))) <= :near"
    " AND bit_count(phash_fine # CAST(:fine AS bit(256))) <= :near_fine LIMIT 1"
).bindparams(bindparam("near", NEAR_BITS), bindparam("near_fine", NEAR_BITS_FINE))


def hashes(picture: Image.Image) -> tuple[str, str]:
    """pHash of 64 and of 256 bits, as strings of 0 and 1."""
    return _bits(imagehash.phash(picture)), _bits(imagehash.phash(picture, hash_size=_FINE_SIZE))


def distance(one: str, other: str) -> int:
    """In how many bits two strings of equal length differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def near(phash: str, fine: str, other_phash: str, other_fine: str) -> bool:
    """Whether two pictures are copies of each other, by both hashes."""
    return distance(phash, other_phash) <= NEAR_BITS and distance(fine, other_fine) <= NEAR_BITS_FINE


def bands(phash: str) -> list[int]:
    """The four bands of a 64-bit hash."""
    return [int(phash[band * BAND_BITS : (band + 1) * BAND_BITS], 2) for band in range(BANDS)]


def probes(phash: str) -> list[list[int]]:
    """For each band, every value that it may have in a hash within NEAR_BITS, in one band at least."""
    return [[band ^ flip for flip in _FLIPS] for band in bands(phash)]


def near_in_table(session: Session, phash: str, fine: str) -> bool:
    """Whether the picture, or a copy of it, is among the photos kept."""
    values = {f"probes_{band}": values for band, values in enumerate(probes(phash))}
    return session.execute(_NEAR, {**values, "phash": phash, "fine": fine}).first() is not None


def _bits(found: imagehash.ImageHash) -> str:
    return "".join("1" if bit else "0" for bit in found.hash.ravel())
