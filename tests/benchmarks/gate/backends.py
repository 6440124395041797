"""`python -m tests.benchmarks.gate.backends`: the embedder's engines, how fast and how right; JSON to build/bench/.

Time: one view on one core (the time on the clock, and the processor's, which other processes do not lengthen), and the four views of a face side by side as the model runs them. Accuracy: verification among
aligned crops of LFW (TAR at FAR 1e-3) and the cosine with onnxruntime float32. int8 is onnxruntime's static quantisation
(QDQ, by channel), its ranges from crops that are not in the test.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from ml_bentos.cores import cores
from ml_bentos.face import load_model, weights
from ml_bentos.face.backends import Backend, OnnxBackend, TorchBackend, fastest, float_graph, session
from ml_bentos.face.evaluation import fnmr_at_fmr
from ml_bentos.face.images import decode_image
from ml_bentos.face.model import VIEWS
from ml_bentos.face.protocol import photos_of
from ml_bentos.face.quality import assess
from ml_bentos.face.vectors import normalise
from tests.benchmarks.gate.photos import folder
from tests.benchmarks.gate.timing import percentiles, timed
from tests.results import table

OUT = Path("build/bench/gate_backends.json")


class Int8Backend(OnnxBackend):
    """onnxruntime on a statically quantised graph."""

    def __init__(self, data: bytes, ranges: np.ndarray) -> None:
        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self._crops: Iterator[np.ndarray] = iter(ranges)

            def get_next(self) -> dict[str, np.ndarray] | None:
                crop = next(self._crops, None)
                return None if crop is None else {"data": crop[None]}

        with tempfile.TemporaryDirectory() as place:
            plain, ready, done = (str(Path(place) / name) for name in ("float.onnx", "ready.onnx", "int8.onnx"))
            onnx.save(float_graph(data), plain)
            quant_pre_process(plain, ready, skip_symbolic_shape=True)
            quantize_static(
                ready,
                done,
                Reader(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
            )
            self._session = session(onnx.load(done))
        self.name = "onnxruntime-int8"


def crops_of(people: int) -> tuple[np.ndarray, np.ndarray]:
    """Aligned crops as network input, float32[n, 3, 112, 112], of people with two photos or more; and whose they are."""
    model = load_model()
    crops, owners = [], []
    chosen = [(n, p) for n, p in photos_of(folder()).items() if len(p) >= 2][:people]
    for i, (_, paths) in enumerate(chosen):
        for path in paths[:4]:
            bgr = decode_image(path.read_bytes())
            face = assess(bgr, model.detect(bgr)).face
            if face is not None:
                crops.append(model.crop(bgr, face)[..., ::-1].transpose(2, 0, 1))
                owners.append(i)
    return np.stack(crops).astype(np.float32), np.array(owners)


def tar(vectors: np.ndarray, owners: np.ndarray, far: float) -> float:
    """TAR at a FAR over all pairs."""
    scores = vectors @ vectors.T
    upper = np.triu(np.ones_like(scores, bool), 1)
    same = owners[:, None] == owners[None]
    return 1 - fnmr_at_fmr(scores[upper & same], scores[upper & ~same], far)


def measure(backend: Backend, crops: np.ndarray, owners: np.ndarray, reference: np.ndarray | None) -> dict[str, Any]:
    """A row of the table; the vectors under the key `vectors`."""
    one = crops[:1]
    with ThreadPoolExecutor(cores()) as pool:
        single = percentiles(timed(lambda: backend(one), 40))
        start = time.process_time()
        for _ in range(20):
            backend(one)
        processor = (time.process_time() - start) / 20 * 1e3
        face = percentiles(timed(lambda: list(pool.map(backend, [one] * len(VIEWS))), 40))
    vectors = normalise(np.concatenate([backend(c[None]) for c in crops]))
    centred = normalise(vectors - vectors.mean(0))
    agreement = 1.0 if reference is None else float(np.min(np.sum(vectors * reference, axis=1)))
    return {
        "backend": backend.name,
        "view P50 ms": single["p50_ms"],
        "view P95 ms": single["p95_ms"],
        "view CPU ms": round(processor, 2),
        f"face ({len(VIEWS)} views) P50 ms": face["p50_ms"],
        "face P95 ms": face["p95_ms"],
        "TAR at FAR 1e-3": round(tar(centred, owners, 1e-3), 4),
        "worst cosine with float32": round(agreement, 5),
        "vectors": vectors,
    }


@click.command()
@click.option("--people", default=120, show_default=True)
@click.option(
    "--compiled/--no-compiled", default=True, show_default=True, help="TorchInductor as well (a C++ compiler)"
)
def main(people: int, compiled: bool) -> None:
    """Measure all engines on the same crops."""
    files = weights.weight_set()
    data = weights.read(files, files.embedder)
    crops, owners = crops_of(people + 20)
    ranges, crops, owners = crops[owners >= people], crops[owners < people], owners[owners < people]
    engines: list[Callable[[], Backend]] = [
        lambda: OnnxBackend(data),
        lambda: OnnxBackend(data, dequantise=False),
        lambda: Int8Backend(data, ranges),
        lambda: TorchBackend(data, fold=False, channels_last=False),
        lambda: TorchBackend(data, channels_last=False),
        lambda: TorchBackend(data),
        lambda: TorchBackend(data, torch.bfloat16),
    ]
    if compiled:
        engines.append(lambda: TorchBackend(data, compiled=True))
    rows: list[dict[str, Any]] = []
    reference = None
    for engine in engines:
        row = measure(engine(), crops, owners, reference)
        vectors = row.pop("vectors")
        reference = vectors if reference is None else reference
        rows.append(row)
    table(f"Embedder on {cores()} cores, {len(crops)} crops of {people} people", rows)
    print(f"  shipped here: {fastest(data).name}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"cores": cores(), "backends": rows, "shipped": fastest(data).name}, indent=1), "utf-8")
    print(f"\n{OUT}")


if __name__ == "__main__":
    main()
