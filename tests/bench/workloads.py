"""What is measured: each workload runs once a round for every peer and gives a dictionary of figures."""

from dataclasses import dataclass, field
from typing import Callable

from stage import Failure, Stage, sockets_in_use


@dataclass
class Settings:
    """How long and how much, for one run of the benchmark."""
    rounds: int = 5
    warmup_ms: int = 200
    measure_ms: int = 1000
    warmup_connections: int = 2000
    connections: int = 12000
    idle_connections: int = 5000
    traced_connections: int = 2000


def quick():
    return Settings(rounds=2, warmup_ms=50, measure_ms=150, warmup_connections=300, connections=1500,
                    idle_connections=500, traced_connections=300)


@dataclass
class Figure:
    key: str
    text: str
    lower_is_better: bool = True


@dataclass
class Workload:
    name: str
    title: str
    figures: list
    run: Callable               # (stage, settings) -> {figure key: number}
    scales: bool = False        # measured with many workers too
    options: dict = field(default_factory=dict)


def per_operation(unit):
    return [Figure("rate", f"{unit}s/s", lower_is_better=False), Figure("cpu_us", f"CPU µs a {unit}"),
            Figure("p50_us", "p50 µs"), Figure("p99_us", "p99 µs")]


BULK_FIGURES = [Figure("gbit", "Gbit/s", lower_is_better=False), Figure("cpu_gb", "CPU s a GB")]
IDLE_FIGURES = [Figure("pss", "user memory, bytes"), Figure("slab", "kernel slab, bytes"),
                Figure("files", "descriptors"), Figure("cpu_us", "CPU µs a connection beside them"),
                Figure("rate", "connections/s beside them", lower_is_better=False)]


def operations(report):
    figures = {"rate": report["operations"] / report["seconds"],
               "p50_us": report["p50_us"], "p99_us": report["p99_us"]}
    return with_cpu(figures, "cpu_us", report, report["operations"] / 1e6)


def with_cpu(figures, key, report, amount):
    """Add CPU time for each of @amount; the backend alone has no proxy whose time could be taken."""
    if report["cpu_seconds"] > 0:
        figures[key] = report["cpu_seconds"] / amount
        figures["busy"] = report["cpu_seconds"] / report["seconds"]
    return figures


def run_short(stage, settings, header="v2"):
    # A number of connections, not a time: what a connection costs depends on how many came before.
    return operations(stage.load("short", header=header, connections=64, warmup=settings.warmup_connections,
                                 measure=settings.connections))


def run_trips(stage, settings, message, connections):
    return operations(stage.load("trips", header="v2", message=message, connections=connections,
                                 warmup=settings.warmup_ms, measure=settings.measure_ms))


def run_bulk(stage, settings, direction, connections):
    report = stage.load("bulk", header="v2", direction=direction, connections=connections,
                        warmup=settings.warmup_ms, measure=settings.measure_ms)
    gigabytes = report["bytes"] / 1e9
    return with_cpu({"gbit": gigabytes * 8 / report["seconds"]}, "cpu_gb", report, gigabytes)


def run_idle(stage, settings):
    """What an open, silent connection holds, and what a short one costs beside many of them."""
    count = settings.idle_connections
    stage.load("short", header="v2", connections=1, warmup=1, measure=10)
    before = stage.footprint()
    stage.hold_idle(count)
    after = stage.footprint()
    if sockets_in_use() < count * (4 if stage.peer else 2):
        raise Failure("idle connections were closed")
    figures = {key: (after[key] - before[key]) / count for key in after}
    if stage.peer:
        beside = run_short(stage, settings)
        figures.update(cpu_us=beside["cpu_us"], rate=beside["rate"])
    return figures


def make_workloads():
    made = []
    for header in ("v1", "v2", "v2-nlb"):
        made.append(Workload(f"short-{header}", f"short connections, {header} header, 64 at once",
                             per_operation("connection"), run_short, scales=header == "v2",
                             options={"header": header}))
    for message in (64, 4096):
        for connections in (1, 64):
            made.append(Workload(f"trips-{message}-{connections}",
                                 f"{message}-byte round trips, {plural(connections)}",
                                 per_operation("trip"), run_trips, scales=connections > 1,
                                 options={"message": message, "connections": connections}))
    for direction in ("down", "up", "both"):
        for connections in (1, 16):
            made.append(Workload(f"bulk-{direction}-{connections}",
                                 f"bulk {direction}, {plural(connections)}",
                                 BULK_FIGURES, run_bulk, scales=connections > 1,
                                 options={"direction": direction, "connections": connections}))
    made.append(Workload("idle", "an idle connection, many open", IDLE_FIGURES, run_idle))
    return made


def plural(connections):
    return "1 connection" if connections == 1 else f"{connections} connections"


WORKLOADS = make_workloads()


def measure(workload, settings, *stage_args):
    with Stage(*stage_args) as stage:
        return workload.run(stage, settings, **workload.options)
