"""What several processes share for a while, in Redis where there is one: counts, revoked tokens, answers.

Nothing rests on it. Whoever asks has an answer of its own for when Redis is away, slower or known to this process alone.
"""

from platform_api.core.cache.kept import KeptAnswers
from platform_api.core.cache.limits import RateLimit
from platform_api.core.cache.shared import Away, SharedCache, key_of, shared

__all__ = ["Away", "KeptAnswers", "RateLimit", "SharedCache", "key_of", "shared"]
