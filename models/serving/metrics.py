"""The engines' health as Prometheus metrics on a loopback port. Knows nothing of what is served, and names neither
users nor guilds.
"""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import accumulate
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from models.serving.engine import Engine
from models.serving.requests import Health
from models.serving.short_engine import ShortEngine
from models.serving.short_requests import ShortHealth, ShortState

LOOPBACK = "127.0.0.1"
_HEALTH_S = 2.0  # a scrape that gets no answer from the event loop within this is answered with inkwell_up 0


class MetricsServer:
    """`async with` it. Prometheus asks in a thread of its own; the engines are asked on the event loop."""

    def __init__(self, engine: Engine, port: int = 0, *, short: ShortEngine | None = None) -> None:
        """`port` 0 takes any; `self.port` says which. Raises OSError in `async with` when it is taken."""
        self._engine, self._short = engine, short
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> "MetricsServer":
        self._loop = asyncio.get_running_loop()
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)  # this process: its memory, CPU time, descriptors and start
        self._server, self._thread = start_http_server(self.port, addr=LOOPBACK, registry=registry)
        self.port = self._server.server_port
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        await asyncio.to_thread(self._thread.join)

    def describe(self) -> Iterable[Metric]:
        """So that registering asks no engine."""
        return ()

    def collect(self) -> Iterator[Metric]:
        assert self._loop is not None
        asking = asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
        try:
            health, short = asking.result(_HEALTH_S)
        except FutureTimeoutError:
            asking.cancel()
            yield GaugeMetricFamily("inkwell_up", "Whether the engine answers a question about its health.", 0)
            return
        yield GaugeMetricFamily("inkwell_up", "Whether the engine answers a question about its health.", 1)
        yield from metrics_of(health)
        if short is not None:
            yield from short_metrics_of(short)

    async def _ask(self) -> tuple[Health, ShortHealth | None]:
        return await self._engine.health(), None if self._short is None else await self._short.health()


def metrics_of(health: Health) -> Iterator[Metric]:
    """Times in seconds, sizes in bytes, counters to take a rate of: tokens a second are
    `rate(inkwell_generated_tokens_total[1m])`."""
    yield GaugeMetricFamily("inkwell_ready", "Whether a model can answer now.", float(health.ready))
    yield GaugeMetricFamily("inkwell_queued_requests", "Requests that wait for a slot.", health.queued)
    yield GaugeMetricFamily("inkwell_queued_guilds", "Guilds with waiting requests.", len(health.queued_by_guild))
    yield GaugeMetricFamily("inkwell_running_requests", "Requests that a model works on.", health.running)
    ended = CounterMetricFamily("inkwell_requests", "Requests that ended, by how.", labels=["outcome"])
    ended.add_metric(["served"], health.served)
    ended.add_metric(["failed"], health.failed)
    yield ended
    yield CounterMetricFamily("inkwell_generated_tokens", "Tokens that models generated.", health.generated_tokens)
    first = health.first_token
    reached = [f"{bound:g}" for bound in first.bounds] + ["+Inf"]
    yield HistogramMetricFamily(
        "inkwell_first_token_seconds",
        "From the submission of a request to its first text, waiting included.",
        buckets=list(zip(reached, accumulate(first.counts), strict=True)),
        sum_value=first.sum_s,
    )
    yield from _worker_metrics(health)


def short_metrics_of(health: ShortHealth) -> Iterator[Metric]:
    """Of the process of the small models. It is not ready while it sleeps, which is no fault: alert on `failed`."""
    state = GaugeMetricFamily("inkwell_short_state", "What the small models' process does.", labels=["state"])
    for name in get_args(ShortState):
        state.add_metric([name], float(health.state == name))
    yield state
    yield GaugeMetricFamily("inkwell_short_waiting_requests", "Short requests that wait for a batch.", health.waiting)
    yield GaugeMetricFamily("inkwell_short_running_requests", "Short requests in a batch.", health.running)
    ended = CounterMetricFamily("inkwell_short_requests", "Short requests that ended, by how.", labels=["outcome"])
    ended.add_metric(["answered"], health.answered)
    ended.add_metric(["failed"], health.failed)
    ended.add_metric(["dropped"], health.dropped)
    yield ended
    yield GaugeMetricFamily("inkwell_short_resident_memory_bytes", "Its resident memory.", health.resident_bytes)
    yield CounterMetricFamily("inkwell_short_restarts", "How often it was replaced after a crash.", health.restarts)


def _worker_metrics(health: Health) -> Iterator[Metric]:
    label = ["worker"]
    ready = GaugeMetricFamily("inkwell_worker_ready", "Whether this worker can answer now.", labels=label)
    running = GaugeMetricFamily("inkwell_worker_running_requests", "Requests that it works on.", labels=label)
    slots = GaugeMetricFamily("inkwell_worker_slots", "Requests that it can work on at once.", labels=label)
    memory = GaugeMetricFamily("inkwell_worker_resident_memory_bytes", "Its resident memory.", labels=label)
    uptime = GaugeMetricFamily("inkwell_worker_uptime_seconds", "Since it became ready.", labels=label)
    restarts = CounterMetricFamily("inkwell_worker_restarts", "How often it was started anew.", labels=label)
    # A label of its own family, so that a new model version does not begin every other series anew.
    model = InfoMetricFamily("inkwell_worker_model", "The version of the model that it answers with.", labels=label)
    for number, worker in enumerate(health.workers):
        names = [str(number)]
        ready.add_metric(names, float(worker.state == "ready"))
        running.add_metric(names, worker.running)
        slots.add_metric(names, worker.slots)
        memory.add_metric(names, worker.resident_bytes)
        uptime.add_metric(names, worker.uptime_s)
        restarts.add_metric(names, worker.restarts)
        model.add_metric(names, {"version": worker.model_version})
    yield from (ready, running, slots, memory, uptime, restarts, model)
