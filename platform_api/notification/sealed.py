"""What notification seals, for who puts it under another key (see core.resealing)."""

from platform_api.core.resealing import Column
from platform_api.notification import vault
from platform_api.notification.models import Device, EmailAddress

COLUMNS = [
    Column(Device, "token_sealed", lambda row: vault.context("device", row.device_id)),
    Column(EmailAddress, "address_sealed", lambda row: vault.context("email", row.member_id)),
    Column(EmailAddress, "code_sealed", lambda row: vault.context("code", row.member_id)),
]
