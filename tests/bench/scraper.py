#!/usr/bin/python3
"""Reads the metrics of the port it is told ten times a second, as an eager Prometheus would, until it is killed."""

import sys
import time
import urllib.request

while True:
    with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics", timeout=5) as answer:
        if b"unproxy_connections_accepted_total" not in answer.read():
            sys.exit("no metrics")
    time.sleep(0.1)
