"""Settings of the web clients."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from platform_api.core.addresses import ProxySettings
from platform_api.core.database import DOMAINS


class WebSettings(ProxySettings):
    """How pages are made and whom they ask (`SMARTFIT_<NAME>`)."""

    web_api_url: str = Field(
        pattern=r"^https?://\S+$",
        description="Base URL of the domains, {domain} standing for their names, e.g. http://smartfit-{domain}:8000.",
    )
    web_timezone: str = Field(default="Asia/Seoul", description="Whose clock the pages show.")
    web_read_timeout_s: float = Field(default=10.0, gt=0, description="A domain that is silent for longer is away.")

    @field_validator("web_timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value}: 알 수 없는 시간대입니다 (no such time zone)") from error
        return value

    def urls(self) -> dict[str, str]:
        """Base URL of each domain."""
        return {domain: self.web_api_url.replace("{domain}", domain) for domain in DOMAINS}
