"""What access seals, for who puts it under another key (see core.resealing).

Frames of strangers that nobody refers to are removed by `strangers.purge`, so one that came back goes within the hour.
"""

from platform_api.access import gallery, qr
from platform_api.access.models import Model, QrKey
from platform_api.core.resealing import Column

COLUMNS = [
    Column(Model, "rotation_sealed", lambda row: gallery.rotation_context(row.version)),
    Column(QrKey, "private_sealed", lambda row: qr.key_context(row.kid)),
]
