"""Why a step stopped: for the moment, and then it is tried again; or for good, and then the cause is told.

Only what may pass by itself is retried, a bounded number of times with growing pauses: a service or database that is away. A
contradiction in the data, a full disk or a damaged file stops the run at once, and the message says what to do.
"""

import errno
import random
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy.exc import InterfaceError, OperationalError

from platform_api.core.encryption import DecryptionError
from platform_api.core.http import ServiceUnavailable
from platform_api.core.settings import SettingsError

MOST_RETRIES = 4
FIRST_PAUSE_S = 5.0


class TransientFailure(Exception):
    """Something needed is away for the moment."""


class PermanentFailure(Exception):
    """It will not get better by itself; the text, in both languages, says what to do."""

    def __init__(self, korean: str, english: str) -> None:
        self.korean, self.english = korean, english
        super().__init__(f"{korean} ({english})")


@contextmanager
def told(attempt: int = 0) -> Iterator[None]:
    """Turn the failures of a step into what Dagster makes of them: a retry, or an end with its cause.

    Args:
        attempt: `context.retry_number`, for the length of the pause.

    Raises:
        RetryRequested: for the moment. Failure: for good. What is neither is a fault of ours and raised as it is.
    """
    try:
        yield
    except (TransientFailure, ServiceUnavailable, OperationalError, InterfaceError, TimeoutError) as error:
        pause = FIRST_PAUSE_S * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311
        raise dg.RetryRequested(max_retries=MOST_RETRIES, seconds_to_wait=pause) from error
    except PermanentFailure as error:
        raise _end(error.korean, error.english) from error
    except SettingsError as error:
        raise _end("설정이 잘못되었습니다.", str(error)) from error
    except DecryptionError as error:
        raise _end(
            "암호화된 파일이 손상되었거나 키가 없습니다.", "A sealed object is damaged, or its key is gone."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _end(
                "디스크가 가득 찼습니다. 공간을 비운 뒤 다시 실행하세요.",
                "The disk is full; make room and run it again.",
            ) from error
        raise


def _end(korean: str, english: str) -> dg.Failure:
    return dg.Failure(description=f"{korean} ({english})", allow_retries=False)
