"""From the figures of all rounds to medians, ratios and the lines that say whether a target is met."""

import math
import statistics
from dataclasses import dataclass

from workloads import WORKLOADS

DIRECT = "direct"
OURS = "unproxy"
VARIANTS = (OURS, "unproxy-log", "unproxy-admin", "unproxy-limits", "unproxy-transparent", "unproxy-other")
HAPROXY_AND_NGINX = ("haproxy", "haproxy-splice", "nginx")
BULK = [w.name for w in WORKLOADS if w.name.startswith("bulk")]


class Results:
    """Figures by (workers, workload, peer), in the order of the rounds."""

    def __init__(self):
        self.rounds = {}

    def add(self, workers, workload, peer, figures):
        self.rounds.setdefault((workers, workload, peer), []).append(figures)

    def values(self, workers, workload, peer, figure):
        """One value a round, None where a round gave none."""
        return [f.get(figure) for f in self.rounds.get((workers, workload, peer), [])]

    def median(self, *key):
        values = [v for v in self.values(*key) if v is not None]
        return statistics.median(values) if values else None

    def ratio(self, workers, workload, figure, peer, other):
        """Median over the rounds of peer to other, each pair measured one after the other: what the machine did
        between the rounds is in both and cancels out."""
        pairs = zip(self.values(workers, workload, peer, figure), self.values(workers, workload, other, figure))
        ratios = [a / b for a, b in pairs if a is not None and b]
        return statistics.median(ratios) if ratios else None

    def best(self, workers, workload, figure, lower_is_better, among=None):
        """The peer with the best median; never unproxy itself nor the backend alone."""
        medians = {}
        for (w, name, peer) in self.rounds:
            if (w, name) == (workers, workload) and peer != DIRECT and peer not in VARIANTS:
                value = self.median(workers, workload, peer, figure)
                if value is not None and (among is None or peer in among):
                    medians[peer] = value
        if not medians:
            return None
        return (min if lower_is_better else max)(medians, key=medians.get)

    def as_json(self):
        return [{"workers": workers, "workload": workload, "peer": peer, "rounds": rounds,
                 "medians": {key: self.median(workers, workload, peer, key)
                             for key in dict.fromkeys(k for f in rounds for k in f)}}
                for (workers, workload, peer), rounds in self.rounds.items()]


def number(value):
    """Three digits that count."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def table(head, rows):
    """Lines of a table: the first column to the left, the others to the right; a row of one cell is a title."""
    widths = [max(len(row[i]) for row in [head, *rows] if len(row) > 1) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        if len(row) == 1:
            lines += ["", row[0]]
        else:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return lines


def comparison(results, workers, peers):
    """The table of one number of workers."""
    ours = OURS in peers
    head = ["", *peers] + (["unproxy/best", "best"] if ours else [])
    rows = []
    for workload in WORKLOADS:
        if not any((workers, workload.name, peer) in results.rounds for peer in peers):
            continue
        rows.append([workload.title])
        for figure in workload.figures:
            row = ["  " + figure.text]
            row += [number(results.median(workers, workload.name, peer, figure.key)) for peer in peers]
            if ours:
                best = results.best(workers, workload.name, figure.key, figure.lower_is_better)
                ratio = results.ratio(workers, workload.name, figure.key, OURS, best)
                row += [number(ratio), best if ratio is not None else "-"]
            rows.append(row)
    return table(head, rows)


@dataclass
class Target:
    text: str
    figure: str
    workloads: list
    against: tuple  # peers; the best of them in each workload; None for all
    limit: float
    moonshot: float
    lower_is_better: bool = True

    def measure(self, results):
        """Geometric mean of the ratios of all workloads, and the worst of them; None if one was not measured."""
        ratios = []
        for workload in self.workloads:
            best = self.against[0] if self.against and len(self.against) == 1 else results.best(
                1, workload, self.figure, self.lower_is_better, self.against)
            ratio = results.ratio(1, workload, self.figure, OURS, best)
            if ratio is None:
                return None
            ratios.append(ratio)
        return statistics.geometric_mean(ratios), (max if self.lower_is_better else min)(ratios)

    def verdict(self, value):
        def met(limit):
            return value <= limit if self.lower_is_better else value >= limit
        return "moonshot" if met(self.moonshot) else "ok" if met(self.limit) else "short"


TRIPS_64 = ["trips-64-1", "trips-64-64"]
TARGETS = [
    Target("CPU a short connection, to the best of HAProxy and nginx", "cpu_us", ["short-v2"],
           HAPROXY_AND_NGINX, 0.92, 0.80),
    Target("CPU a 64-byte round trip, 64 connections, to the best peer", "cpu_us", ["trips-64-64"],
           None, 0.90, 0.80),
    Target("CPU a GB bulk, to HAProxy", "cpu_gb", BULK, ("haproxy",), 0.30, 0.22),
    Target("CPU a GB bulk, to HAProxy with splicing forced", "cpu_gb", BULK, ("haproxy-splice",), 0.90, 0.75),
    Target("bulk Gbit/s, to HAProxy", "gbit", BULK, ("haproxy",), 1.6, 2.0, lower_is_better=False),
    Target("bulk Gbit/s, to no proxy at all", "gbit", BULK, (DIRECT,), 0.55, 0.70, lower_is_better=False),
    Target("p99 of 64-byte round trips, to the best peer", "p99_us", TRIPS_64, None, 1.0, 0.9),
    Target("user memory of an idle connection, to HAProxy", "pss", ["idle"], ("haproxy",), 0.2, 0.1),
]


def targets(results, system_calls):
    """[(text, value, worst, limit, moonshot, verdict)] of the targets that were measured."""
    rows = []
    for target in TARGETS:
        measured = target.measure(results)
        if measured is not None:
            rows.append((target.text, *measured, target.limit, target.moonshot, target.verdict(measured[0])))
    if OURS in system_calls:
        calls = sum(system_calls[OURS].values())
        rows.append(("system calls a short connection", calls, calls, 18, 18, "ok" if calls <= 18 else "short"))
    return rows


def targets_table(rows):
    return table(["target (one worker)", "measured", "worst", "target", "moonshot", ""],
                 [[text, number(value), number(worst), number(limit), number(moonshot), verdict]
                  for text, value, worst, limit, moonshot, verdict in rows])


def overheads(results, workers, variants):
    """CPU time of each variant of ours to that of plain unproxy, by workload."""
    others = [name for name in variants if name != OURS]
    rows = []
    for workload in WORKLOADS:
        figure = next((f.key for f in workload.figures if f.key.startswith("cpu")), None)
        ratios = [results.ratio(workers, workload.name, figure, name, OURS) for name in others]
        if any(ratio is not None for ratio in ratios):
            rows.append([workload.title, *map(number, ratios)])
    return table(["", *others], rows) if rows else []


def system_calls_table(calls):
    """@calls: {peer: {system call: calls a connection}}."""
    names = sorted({name for counts in calls.values() for name in counts},
                   key=lambda name: -max(counts.get(name, 0) for counts in calls.values()))
    rows = [[name, *(number(counts[name]) if counts.get(name, 0) >= 0.005 else "-" for counts in calls.values())]
            for name in names if any(counts.get(name, 0) >= 0.005 for counts in calls.values())]
    rows.append(["all", *(number(sum(counts.values())) for counts in calls.values())])
    return table(["calls a connection", *calls], rows)


def parser_table(now, before):
    """@now and @before: {header: {"ns": …}}; before is what the JSON file of the last run says."""
    rows = []
    for name, figures in now.items():
        old = before.get(name, {}).get("ns")
        rows.append([name, number(figures["ns"]), number(1e9 / figures["ns"]), number(old),
                     number(figures["ns"] / old if old else None)])
    return table(["header parsed", "ns", "headers/s", "ns, last run", "ratio"], rows)
