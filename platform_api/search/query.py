"""What an engine is asked, in no engine's language."""

from dataclasses import dataclass

from platform_api.search.geo import Box


@dataclass(frozen=True)
class Form:
    """A spelling under which a word may stand in an index, and what finding it is worth."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Word:
    """A word of the sentence.

    Attributes:
        forms: spellings, any of which will do.
        jamo: its letters, to match names that are spelt a little differently; None where only whole words will do.
        initials: initial consonants that were typed instead of a word.
        role: `required`: a branch without it is no answer; `wanted`: one of these at least; `bonus`: it only counts.
    """

    text: str
    forms: tuple[Form, ...] = ()
    jamo: str | None = None
    initials: str | None = None
    role: str = "wanted"


@dataclass(frozen=True)
class Where:
    """In a place: one of these words stands in the address, or it lies in one of the boxes."""

    terms: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()

    def wider(self, factor: float) -> "Where":
        """The same with larger boxes."""
        return Where(self.terms, tuple(box.wider(factor) for box in self.boxes))


@dataclass(frozen=True)
class Conditions:
    """What every answer must fulfil.

    Attributes:
        terms: amenity:..., trait:..., always - all of them.
        without: none of these.
        where: in every one of these places.
        slots: open in all of these hours of the week, by the branch's clock.
        open_now: (time zone, hour of the week there): open now in one of the zones that branches are in.
        box: within it.
    """

    terms: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    where: tuple[Where, ...] = ()
    slots: tuple[int, ...] = ()
    open_now: tuple[tuple[str, int], ...] = ()
    max_won: int | None = None
    min_won: int | None = None
    min_rating: float | None = None
    box: Box | None = None

    @property
    def any(self) -> bool:
        """Whether anything is demanded."""
        return self != Conditions()


@dataclass(frozen=True)
class Query:
    """Words to score by and conditions to hold; `limit` best candidates are wanted."""

    words: tuple[Word, ...] = ()
    conditions: Conditions = Conditions()
    limit: int = 200
