"""
A router's metrics for ``prometheus_client``.

::

    from prometheus_client import start_http_server
    from failsafe.integrations import prometheus

    prometheus.register(router)
    start_http_server(9100)

See ``docs/prometheus.md``.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from failsafe import checks, forking
from failsafe.errors import ConfigError
from failsafe.integrations.metrics import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFO,
    Family,
    Source,
    Spread,
    Value,
    Watcher,
    empty_families,
    families,
)
from failsafe.integrations.tally import Tally
from failsafe.router import Router

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
        Metric,
    )
except ModuleNotFoundError as missing:
    needed = f"failsafe.integrations.prometheus needs {missing.name}; pip install 'failsafe-llm[prometheus]'"
    raise ModuleNotFoundError(needed, name=missing.name) from None

from failsafe.integrations import prometheus_workers

__all__ = ["FailsafeCollector", "register"]


class _Watched(NamedTuple):
    router: weakref.ref[Router]
    tally: Tally
    name: str
    monitor: Watcher | None

    def source(self) -> Source | None:
        """What is to be exported; None once the router is closed or gone."""
        router = self.router()
        if router is None or router.closed:
            self.tally.close()
            return None
        return Source(router, self.tally, self.name, self.monitor)


class FailsafeCollector:
    """
    Collects the metrics of one router, or of several that are told apart by name. Thread-safe.

    It counts what happens from the moment a router is added, keeps no router alive, and lets go of one that was
    closed. :func:`register` makes one for you.

    Args:
        router: The first router; None: :meth:`add` comes later.
        name: As of :meth:`add`.
        monitor: As of :meth:`add`.
    """

    def __init__(self, router: Router | None = None, *, name: str = "", monitor: Watcher | None = None) -> None:
        self._watched: tuple[_Watched, ...] = ()  # replaced under _lock, read without
        self._start_afresh()
        forking.register(self)
        if router is not None:
            self.add(router, name=name, monitor=monitor)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()

    _after_fork = _start_afresh

    def add(self, router: Router, *, name: str = "", monitor: Watcher | None = None) -> Callable[[], None]:
        """
        Export *router* as well.

        Args:
            router: The router.
            name: The label ``router`` of its samples, by which it is told from others; "" for the only one.
            monitor: A :class:`failsafe.HealthMonitor`, to export uptime.

        Returns:
            A function that ends it; calling it twice does no harm.

        Raises:
            ConfigError: Another open router has that name here, or this one is exported already.
        """
        name = checks.text("name", name, empty=True)
        with self._lock:
            watched = [each for each in self._watched if each.source() is not None]
            if any(each.name == name for each in watched):
                checks.refuse("name", name, "another router goes by it in this registry; give each its own name=")
            if any(each.router() is router for each in watched):
                raise ConfigError(f"{router!r} is exported by this registry already; call it once for each router")
            added = _Watched(weakref.ref(router), Tally(router), name, monitor)
            self._watched = (*watched, added)
        return lambda: self._end(added)

    def _end(self, ended: _Watched) -> None:
        ended.tally.close()
        with self._lock:
            self._watched = tuple(each for each in self._watched if each is not ended)

    def close(self) -> None:
        """Count and export no more."""
        for watched in self._watched:
            self._end(watched)

    @property
    def empty(self) -> bool:
        """Whether there is no open router to export."""
        return not self._sources()

    def _sources(self) -> list[Source]:
        found = [(watched, watched.source()) for watched in self._watched]
        for watched, source in found:
            if source is None:
                self._end(watched)
        return [source for _, source in found if source is not None]

    def describe(self) -> Iterator[Metric]:
        """Every family, without samples: with them a registry sees to it that no name is taken twice."""
        return map(_metric, empty_families())

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples of now; nothing once there is no router left."""
        sources = self._sources()
        return map(_metric, families(sources)) if sources else iter(())


class _Registered(FailsafeCollector):
    """The collector of one registry, which leaves it when it has nothing left to tell."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = weakref.ref(registry)

    def collect(self) -> Iterator[Metric]:
        """As of every collector; without a router it leaves the registry."""
        if self.empty:
            _leave(self)
        return super().collect()


_collectors: weakref.WeakKeyDictionary[CollectorRegistry, _Registered] = weakref.WeakKeyDictionary()
_shared: weakref.WeakSet[Router] = weakref.WeakSet()
_lock = forking.RenewedLock()  # guards the two above


def register(
    router: Router, registry: CollectorRegistry = REGISTRY, *, name: str = "", monitor: Watcher | None = None
) -> Callable[[], None]:
    """
    Export *router* through *registry*, until it is closed.

    Routers of one registry share the metrics and are told apart by the label ``router``. In the client library's
    multiprocess mode *registry* and *monitor* do not count: what all workers tell is collected from their files.

    Args:
        router: The router.
        registry: Where; the client library's own by default.
        name: The label ``router`` of its samples; "" for the only one.
        monitor: A :class:`failsafe.HealthMonitor`, to export uptime.

    Returns:
        A function that ends it earlier; calling it twice does no harm.

    Raises:
        ConfigError: Another open router of this registry has that name, or this one is exported already.
    """
    if prometheus_workers.is_multiprocess():
        return _share(router, checks.text("name", name, empty=True))
    with _lock:
        collector = _collectors.get(registry)
        if collector is None:
            collector = _Registered(registry)
            end = collector.add(router, name=name, monitor=monitor)
            registry.register(collector)
            _collectors[registry] = collector
        else:
            end = collector.add(router, name=name, monitor=monitor)
    return lambda: _end(end, collector)


def _share(router: Router, name: str) -> Callable[[], None]:
    """As :func:`register` where the client library collects the files of several processes."""
    with _lock:
        if router in _shared:
            raise ConfigError(f"{router!r} is exported already; call it once for each router")
        end, known = prometheus_workers.share(router, name), weakref.ref(router)
        _shared.add(router)
    return lambda: _share_no_more(end, known)


def _share_no_more(end: Callable[[], None], router: weakref.ref[Router]) -> None:
    end()
    shared = router()
    if shared is not None:
        with _lock:
            _shared.discard(shared)


def _end(end: Callable[[], None], collector: _Registered) -> None:
    end()
    if collector.empty:
        _leave(collector)


def _leave(collector: _Registered) -> None:
    registry = collector._registry()  # noqa: SLF001 -- of this module
    with _lock:
        if registry is not None and _collectors.get(registry) is collector and collector.empty:
            del _collectors[registry]
            registry.unregister(collector)


def _metric(family: Family) -> Metric:
    return _BUILDERS[family.kind.type](family)


def _counter(family: Family) -> Metric:
    metric = CounterMetricFamily(family.kind.name, family.kind.help, labels=family.kind.labels)
    for labels, value in family.samples:
        metric.add_metric(labels, _number(value))
    return metric


def _gauge(family: Family) -> Metric:
    metric = GaugeMetricFamily(family.kind.name, family.kind.help, labels=family.kind.labels)
    for labels, value in family.samples:
        metric.add_metric(labels, _number(value))
    return metric


def _histogram(family: Family) -> Metric:
    metric = HistogramMetricFamily(family.kind.name, family.kind.help, labels=family.kind.labels)
    for labels, value in family.samples:
        assert isinstance(value, Spread)  # noqa: S101 -- as its kind says
        metric.add_metric(labels, [(bound, float(count)) for bound, count in value.up_to], value.total)
    return metric


def _info(family: Family) -> Metric:
    metric = InfoMetricFamily(family.kind.name, family.kind.help)
    for labels, _ in family.samples:
        metric.add_metric((), dict(zip(family.kind.labels, labels, strict=True)))
    return metric


def _number(value: Value) -> float:
    assert not isinstance(value, Spread)  # noqa: S101 -- as its kind says
    return value


_BUILDERS: Mapping[str, Callable[[Family], Metric]] = {
    COUNTER: _counter, GAUGE: _gauge, HISTOGRAM: _histogram, INFO: _info,
}  # fmt: skip
