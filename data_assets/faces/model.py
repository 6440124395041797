"""The model: the upper part of the published network, taught with the members' crops, the lower part as it is.

Begun from the published network at each run and not from the version that serves, so that errors do not add up over the years.

    models/face/drafts/<digest>/embedder.onnx    what the next steps go by
    models/face/teaching/<data set>              the checkpoint, sealed: it holds what stands for members. Gone at the end
"""

import hashlib
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from data_assets import failures, plots
from data_assets.faces import enrolled, photographs, versions
from data_assets.faces.photographs import Eye, Seen
from data_assets.faces.versions import Version
from data_assets.failures import PermanentFailure
from data_assets.reading import Reader
from data_assets.telling import Tell
from platform_api.core.encryption import DecryptionError
from platform_api.core.storage import ObjectStore

if TYPE_CHECKING:
    from ml_bentos.face.tuning import History, Plan

DRAFTS = "models/face/drafts"
TEACHING = "models/face/teaching"
COMPARED = 8
"""Photos on which PyTorch and ONNX are compared."""


@dg.asset(key_prefix="faces", name="model", group_name="faces", kinds={"pytorch"})
def model(
    context: dg.AssetExecutionContext,
    dataset: dict[str, Any],
    reader: dg.ResourceParam[Reader],
    store: dg.ResourceParam[ObjectStore],
) -> dg.Output[dict[str, Any]]:
    """The network, as the epoch that did best with members it was not taught with left it."""
    with failures.told(context.retry_number):
        begun = time.monotonic()
        made = taught(store, reader, versions.read(store, dataset["dataset"]), context.log.info)
        value = {**dataset, **{name: made[name] for name in ("draft", "improved", "onnx_difference")}}
        history: History = made["history"]
        metadata = {
            "draft": made["draft"],
            "improved": made["improved"],
            "best_epoch": history.best,
            "onnx_difference": made["onnx_difference"],
            "crops_left_out": made["left_out"],
            "curves": curves(history),
            "seconds": round(time.monotonic() - begun, 1),
        }
        return dg.Output(value, metadata=metadata)


def taught(
    store: ObjectStore, reader: Reader, version: Version, tell: Tell, plan: "Plan | None" = None
) -> dict[str, Any]:
    """Teach. Returns draft, improved, onnx_difference (largest, of vectors of length 1), left_out (crops), history.

    Raises:
        PermanentFailure: too many crops are damaged, or too few members are left.
    """
    from ml_bentos.face import export, tuning
    from ml_bentos.face.network import whole

    eye = Eye()
    rows = [row for row in version.rows if row.split != "test"]
    places = enrolled.places(reader, rows)
    seen, left_out = photographs.members(eye, store, places, rows, tell, "crops")
    checkpoint = Sealed(store, f"{TEACHING}/{version.name}")
    checkpoint.only()
    try:
        run = tuning.Tuning(eye.upper, examples(seen), plan or tuning.Plan(), checkpoint, version.digest, tell)
    except ValueError as error:
        raise PermanentFailure(
            "읽을 수 있는 사진이 남은 회원이 너무 적어 가르칠 수 없습니다. 등록이 늘어난 뒤 다시 실행하세요.",
            f"Too few members are left whose crops can be used: {error}; run it again once more have enrolled.",
        ) from error
    network = whole(eye.network, run.run())
    embedder = export.exported(eye.published, network)
    place = f"{DRAFTS}/{hashlib.sha256(embedder).hexdigest()[:16]}"
    store.put(f"{place}/embedder.onnx", embedder, sealed=False)
    checkpoint.forget()
    return {
        "draft": place,
        "improved": run.improved,
        "onnx_difference": _difference(eye, store, list(places.values()), embedder, network),
        "left_out": left_out,
        "history": run.history,
    }


def examples(seen: list[Seen]) -> Any:
    """What is taught with and what it is stopped by; which is which, a person's pseudonym tells."""
    from ml_bentos.face.tuning import Examples

    number = {person: index for index, person in enumerate(dict.fromkeys(each.person for each in seen))}
    return Examples(
        activations=np.stack([each.activations for each in seen]),
        people=np.array([number[each.person] for each in seen], np.int64),
        held=np.array([versions.split_of(each.person) == "validation" for each in seen]),
    )


def draft(store: ObjectStore, place: str) -> bytes:
    """The embedder that the asset kept. Raises FileNotFoundError."""
    return store.get(f"{place}/embedder.onnx", sealed=False)


class Sealed:
    """A checkpoint in the object store."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store, self._key = store, key

    def load(self) -> bytes | None:
        """What was saved last; None where there is nothing, or it is damaged."""
        try:
            return self._store.get(self._key, sealed=True)
        except (FileNotFoundError, DecryptionError):
            return None

    def save(self, data: bytes) -> None:
        """Keep it, whole or not at all."""
        self._store.put(self._key, data, sealed=True)

    def only(self) -> None:
        """Delete those of other data sets, whose runs came to nothing: who is in them may have left since."""
        for key in self._store.list(TEACHING):
            if key != self._key:
                self._store.delete(key)

    def forget(self) -> None:
        """Delete it."""
        self._store.delete(self._key)


def _difference(eye: Eye, store: ObjectStore, keys: list[str], embedder: bytes, network: Any) -> float:
    from ml_bentos.face import export
    from ml_bentos.face.model import network_input

    some = keys[:: max(1, len(keys) // COMPARED)][:COMPARED]
    pictures = [enrolled.picture(store, key) for key in some]
    crops = [eye.crops(data) for data in pictures if data is not None]
    found = [each for each in crops if each is not None]
    return export.difference(embedder, network, network_input(np.concatenate(found)))


def curves(history: "History") -> dg.MarkdownMetadataValue:
    """Losses by epoch, and how well members it was not taught with are told apart."""
    drawn = plots.figure(8, 3.4)
    loss, errors = drawn.subplots(1, 2)
    epochs = range(len(history.held_loss))
    loss.plot(epochs, history.held_loss, label="held members")
    loss.axvline(history.best, linestyle=":", color="grey")
    loss.set(xlabel="epoch", ylabel="loss")
    loss.legend()
    errors.plot(epochs, history.held_eer)
    errors.axvline(history.best, linestyle=":", color="grey")
    errors.set(xlabel="epoch", ylabel="equal error rate, held members")
    return plots.png(drawn, "training")
