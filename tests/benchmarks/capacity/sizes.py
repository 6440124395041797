"""How large a face is at rest (its sealed template and crop), and what a photo of laundry costs its judge."""

import time
from typing import Any

import cv2
import numpy as np

from ml_bentos.face import load_model
from ml_bentos.face.images import decode_image
from ml_bentos.laundry.backbone import Backbone, export
from platform_api.auth.photos import JPEG_QUALITY
from platform_api.core.encryption import Envelope, KeyRing
from platform_api.core.models import new_id
from tests.benchmarks.capacity.quantiles import milliseconds
from tests.benchmarks.gate.photos import folder
from tests.edge_world import people

CROP_PX = 512
"""`face_crop_max_px`, the longest side that is kept: what a phone's photo comes to."""


def measure(members: int) -> dict[str, Any]:
    """Bytes, sealed. Photographs of LFW are smaller than a phone's: their crops are brought to the longest side kept."""
    envelope, model = Envelope(KeyRing.generate()), load_model()
    crops, template = [], b""
    for person in people(folder(), members):
        template = person.rows.astype("<f4").tobytes()
        picture = decode_image(person.probe)
        face = max(model.detect(picture), key=lambda found: found.box[2] * found.box[3])
        x, y, width, height = (float(value) for value in face.box)
        half, middle = max(width, height), (x + width / 2, y + height / 2)
        top, left = max(0, int(middle[1] - half)), max(0, int(middle[0] - half))
        part = picture[top : int(middle[1] + half), left : int(middle[0] + half)]
        scale = CROP_PX / max(part.shape[:2])
        large = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        crops.append(len(cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]))
    overhead = len(envelope.seal(b"", new_id().encode()))
    return {
        "template_sealed_bytes": len(template) + overhead,
        "crop_sealed_bytes": round(float(np.mean(crops)) + overhead),
        "people": members,
    }


def judged(photos: int) -> dict[str, Any]:
    """What one photo of laundry costs its judge: decoding and the features of EfficientNet-Lite0 (the head on top is a product)."""
    network = Backbone(export())
    files = sorted(path for path in (folder().parents[2] / "laundry").rglob("*.jpg"))[:photos]
    own, taken = time.process_time(), []
    for file in files:
        begun = time.perf_counter()
        network.features(decode_image(file.read_bytes()))
        taken.append(time.perf_counter() - begun)
    own = time.process_time() - own
    return {
        "photos": len(files),
        "photo_ms": milliseconds(taken),
        "processor_ms": round(1000 * own / len(files), 2),
        "photo_bytes": round(float(np.mean([file.stat().st_size for file in files]))),
    }
