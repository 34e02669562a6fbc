"""The serving benchmarks in short: they run, and what they check holds."""

from benchmarks import overhead
from benchmarks.soak import Soak
from models.serving.wire import WorkerConfig


async def test_an_evening_in_short_answers_everybody_and_leaks_nothing():
    config = WorkerConfig(model="steady", data_dir="/nowhere", niceness=0)
    soaked = await Soak([config, config], "benchmarks.instant_model:steady", seconds=8.0, seed=1).run()
    assert soaked.leaks == []
    assert soaked.kills >= 1
    assert soaked.endings["length"] > 20
    assert soaked.endings["cancelled"] > 0
    assert soaked.endings["left"] > 0
    assert soaked.endings["RequestRefusedError"] <= soaked.kills, "only a request that met two kills is refused"


async def test_the_overhead_of_the_whole_path_is_measured_and_small():
    measured = await overhead.measure(2, lambda result: None)
    assert [(result.path, result.streams) for result in measured[-3:]] == [
        ("worker process", 1),
        ("worker process", 4),
        ("worker process", 16),
    ]
    one_token = await overhead.latency(100)
    assert 0 < one_token.p50_us <= one_token.p95_us
    assert one_token.p50_us < 100_000  # a moment in which others have the core moves the rest
    assert all(0 < result.us_per_token < 2_000 for result in measured)
