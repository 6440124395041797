"""What an operator may set for the search line; every wrong or missing value is named at start."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from platform_api.core.settings import Settings


class SearchLineSettings(Settings):
    """Settings of the search line (`SMARTFIT_<NAME>`, or `SMARTFIT_<NAME>_FILE` naming a file that holds the value)."""

    llm_url: str = Field(
        default="",
        description="Base URL of a chat API as OpenAI's (https://.../v1); empty: the offline extractor serves.",
    )
    llm_model: str = ""
    llm_api_key: SecretStr | None = None
    llm_ca_file: Path | None = None
    llm_timeout_s: float = Field(default=60.0, gt=0)
    llm_budget_tokens: int = Field(default=500_000, ge=0, description="Tokens of one run, questions and answers.")
    llm_requests_per_minute: int = Field(default=60, ge=1)

    search_new_reviews: int = Field(
        default=50, ge=1, description="New reviews since the last index that start a new one."
    )
    search_build_timeout_s: float = Field(default=1800.0, gt=0, description="Seconds the indexer may take to build.")

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if self.llm_url and not self.llm_model:
            raise ValueError("SMARTFIT_LLM_MODEL: 모델 이름을 지정하세요 (a chat API needs the name of a model)")
        return self
