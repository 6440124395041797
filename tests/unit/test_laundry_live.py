"""The model in service is changed for another without anybody waiting or failing."""

import threading

import pytest

from ml_bentos.laundry.live import Live


class Model:
    """Stands for a loaded model."""

    def __init__(self, version: str) -> None:
        self.version = version


class Store:
    """Loads models; counts, and fails or waits where told."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.broken: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def load(self, version: str) -> Model:
        self.gate.wait(10)
        if version in self.broken:
            raise RuntimeError(f"{version} is damaged")
        self.loaded.append(version)
        return Model(version)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def live(store: Store) -> Live:
    return Live(store.load)  # type: ignore[arg-type]


def test_a_version_is_followed_once(live: Live, store: Store) -> None:
    assert live.current is None
    assert live.follow("a")
    assert not live.follow("a")
    assert live.current is not None
    assert (live.current.version, store.loaded) == ("a", ["a"])


def test_the_way_back_takes_no_loading(live: Live, store: Store) -> None:
    for version in ("a", "b", "a", "b"):
        assert live.follow(version)
    assert store.loaded == ["a", "b"]
    live.follow("c")
    live.follow("a")
    assert store.loaded == ["a", "b", "c", "a"]


def test_what_cannot_be_built_leaves_the_old_one_in_service(live: Live, store: Store) -> None:
    live.follow("a")
    store.broken.add("b")
    with pytest.raises(RuntimeError):
        live.follow("b")
    assert live.current is not None
    assert live.current.version == "a"


def test_the_old_one_serves_while_the_new_one_is_built(live: Live, store: Store) -> None:
    live.follow("a")
    in_flight = live.current
    store.gate.clear()
    building = threading.Thread(target=live.follow, args=("b",))
    building.start()
    assert live.current is in_flight
    store.gate.set()
    building.join(10)
    assert live.current is not None
    assert live.current.version == "b"
    assert in_flight is not None
    assert in_flight.version == "a"


def test_nothing_may_serve(live: Live) -> None:
    live.follow("a")
    assert live.follow(None)
    assert not live.follow(None)
    assert live.current is None


def test_threads_that_want_the_same_build_it_once(live: Live, store: Store) -> None:
    threads = [threading.Thread(target=live.follow, args=("a",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert store.loaded == ["a"]
