#!/usr/bin/python3
"""The benchmark of unproxy against real peers; see README.md beside this file."""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import peers
import report
import stage
import syscalls
import workloads

EXTRAS = ("parser", "syscalls")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", required=True, type=Path, help="folder of bench_load, bench_backend, bench_parser")
    parser.add_argument("--unproxy", help="the program; without it only the peers are measured")
    parser.add_argument("--other-unproxy", help="another build of it, to compare with: the peer unproxy-other")
    parser.add_argument("--go-mmproxy", help="path of its binary")
    parser.add_argument("--mmproxy-rs", help="path of its binary")
    parser.add_argument("--peers", help="names, comma-separated; default: all there are, but not ours with options")
    parser.add_argument("--only", help="workloads by the beginnings of their names, comma-separated: "
                        + ", ".join([w.name for w in workloads.WORKLOADS] + list(EXTRAS)))
    parser.add_argument("--workers", help="numbers of workers, comma-separated; default: 1 and one a CPU")
    parser.add_argument("--rounds", type=int, help="default: 5, or 2 with --quick")
    parser.add_argument("--quick", action="store_true", help="short rounds: does everything work?")
    parser.add_argument("--syscalls", action="store_true", help="only the table of system calls")
    parser.add_argument("--cpus", choices=("one", "split", "all"), default="one",
                        help="for one worker: everything on one CPU (default), the peer on a CPU of its own, "
                        "or as the kernel likes")
    parser.add_argument("--json", type=Path, help="default: bench.json in the build folder")
    args = parser.parse_args()
    args.tools = args.tools.resolve()
    args.json = args.json or args.tools.parent.parent / "bench.json"
    args.only = ["syscalls"] if args.syscalls else args.only.split(",") if args.only else [""]
    for name in ("unproxy", "other_unproxy"):
        if getattr(args, name):
            setattr(args, name, str(Path(getattr(args, name)).resolve()))
    return args


def choose_peers(args):
    """Those to measure; None among them is the backend alone."""
    found = {peer.name: peer for peer in peers.known(args)}
    names = args.peers.split(",") if args.peers else [*found, report.DIRECT]
    if not args.peers:
        names = [name for name in names if name == report.OURS or name not in report.VARIANTS]
    for name in names:
        if name != report.DIRECT and name not in found:
            sys.exit(f"run.py: --peers {name}: not known or not installed; there are {', '.join(found)}, direct")
    return {name: found.get(name) for name in names}


def choose_cpus(mode, workers):
    """Which CPUs peer, backend and load may use. README.md says why one CPU is the default."""
    cpus = sorted(os.sched_getaffinity(0))
    if workers > 1 or mode == "all" or len(cpus) < 2:
        return {}
    own = cpus[-1] if mode == "one" else cpus[0]
    return {"peer": {own}, "backend": {cpus[-1]}, "load": {cpus[-1]}}


class Benchmark:
    def __init__(self, args):
        self.args = args
        self.settings = workloads.quick() if args.quick else workloads.Settings()
        if args.rounds:
            self.settings.rounds = args.rounds
        self.settings.idle_connections = min(self.settings.idle_connections, stage.set_file_limit() // 4)
        self.peers = choose_peers(args)
        self.results = report.Results()
        self.system_calls = {}
        self.parser = {}
        self.failures = []

    def wanted(self, name):
        return any(name.startswith(beginning) for beginning in self.args.only)

    def stage_args(self, peer, workers):
        # The tools get half of the CPUs when the peer may use all of them.
        threads = max(1, workers // 2)
        return self.args.tools, peer, workers, threads, choose_cpus(self.args.cpus, workers)

    def attempt(self, what, function, *args):
        """Call @function; a failed measurement is told at once and again at the end."""
        try:
            return function(*args)
        except stage.Failure as failure:
            self.failures.append(f"{what}: {failure}")
            print(f"failed: {self.failures[-1]}", file=sys.stderr)
            return {}

    def measure_all(self, workers):
        chosen = [w for w in workloads.WORKLOADS if self.wanted(w.name) and (workers == 1 or w.scales)]
        names = list(self.peers)
        if workers > 1:
            names = [name for name in names if name != report.DIRECT]
        for turn in range(self.settings.rounds if chosen else 0):
            began = time.monotonic()
            for workload in chosen:
                # Peers directly after one another, each round begun by another: drift hits all alike.
                for name in names[turn % len(names):] + names[:turn % len(names)]:
                    figures = self.attempt(f"{workload.name}, {name}, {workers} workers", workloads.measure, workload,
                                           self.settings, *self.stage_args(self.peers[name], workers))
                    self.results.add(workers, workload.name, name, figures)
            print(f"workers {workers}, round {turn + 1} of {self.settings.rounds}: "
                  f"{time.monotonic() - began:.0f} s", file=sys.stderr)

    def count_system_calls(self):
        for name, peer in self.peers.items():
            if peer:
                counts = self.attempt(f"syscalls, {name}", syscalls.count, self.settings, *self.stage_args(peer, 1))
                if counts:
                    self.system_calls[name] = counts

    def measure_parser(self):
        program = self.args.tools / "bench_parser"
        self.parser = json.loads(subprocess.run([program], check=True, stdout=subprocess.PIPE).stdout)

    def run(self):
        for workers in worker_counts(self.args):
            self.measure_all(workers)
        if self.wanted("syscalls"):
            self.count_system_calls()
        if self.wanted("parser") and "unproxy" in self.peers:
            self.measure_parser()

    def print_tables(self):
        for workers in dict.fromkeys(key[0] for key in self.results.rounds):
            names = [name for name in self.peers if any(key[0] == workers and key[2] == name
                                                        for key in self.results.rounds)]
            title = "1 worker" if workers == 1 else f"{workers} workers"
            show(f"{title}, medians of {self.settings.rounds} rounds",
                 report.comparison(self.results, workers, names))
        if self.system_calls:
            show("system calls, 64 connections at once (strace -c -f)", report.system_calls_table(self.system_calls))
        if self.parser:
            show("parser", report.parser_table(self.parser, previous(self.args.json).get("parser", {})))
        for workers in dict.fromkeys(key[0] for key in self.results.rounds):
            rows = report.overheads(self.results, workers, [name for name in self.peers if name in report.VARIANTS])
            if rows:
                show(f"what options cost, {workers} worker(s): CPU time to unproxy without them", rows)
        rows = report.targets(self.results, self.system_calls)
        if rows:
            show("targets", report.targets_table(rows))
        if self.failures:
            show("failed", self.failures)

    def write_json(self):
        document = {
            "environment": environment(self.args),
            "settings": dataclasses.asdict(self.settings) | {"cpus": self.args.cpus},
            "results": self.results.as_json(),
            "system_calls": self.system_calls,
            "parser": self.parser or previous(self.args.json).get("parser", {}),
            "targets": [dict(zip(("text", "measured", "worst", "target", "moonshot", "verdict"), row))
                        for row in report.targets(self.results, self.system_calls)],
            "failures": self.failures,
        }
        self.args.json.write_text(json.dumps(document, indent=1) + "\n")
        print(f"\nwritten: {self.args.json}")


def worker_counts(args):
    if args.workers:
        return [int(word) for word in args.workers.split(",")]
    return sorted({1, len(os.sched_getaffinity(0))})


def show(title, lines):
    print(f"\n== {title}\n")
    print("\n".join(lines), flush=True)


def previous(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.partition("\n")[0].strip()


def environment(args):
    versions = {"haproxy": first_line(["haproxy", "-v"]), "nginx": first_line(["nginx", "-v"])}
    if args.unproxy:
        versions["unproxy"] = first_line([args.unproxy, "--version"])
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "kernel": platform.release(),
            "cpu": model[0] if model else platform.machine(), "cpus": len(os.sched_getaffinity(0)),
            "load": os.getloadavg()[0], "versions": versions}


def main():
    args = parse_arguments()
    stage.become_able_to_unshare()
    benchmark = Benchmark(args)
    benchmark.run()
    benchmark.print_tables()
    benchmark.write_json()
    sys.exit(1 if benchmark.failures else 0)


if __name__ == "__main__":
    main()
