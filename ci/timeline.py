#!/usr/bin/env python3
"""Says what a trace of `gristmill run --profile` shows: stages, what compute threads did, and how much was serial.

    timeline.py TRACE [STAGE]     STAGE: execute (default) or verify …
"""
import collections
import json
import sys

WORKFLOW, TASKS, THREADS = 1, 2, 3


def load(path):
    with open(path) as file:
        events = json.load(file)["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    return [e for e in events if e["ph"] == "X"], names


def main():
    spans, names = load(sys.argv[1])
    run = next(s for s in spans if s["pid"] == WORKFLOW and s["name"] == "run")
    print(f"run {run['dur'] / 1e6:.3f} s")
    for span in sorted((s for s in spans if s["pid"] == WORKFLOW and s["name"] != "run"), key=lambda s: s["ts"]):
        print(f"  {span['name']:8} {span['dur'] / 1e6:8.3f} s  {100 * span['dur'] / run['dur']:5.1f} %  from {(span['ts'] - run['ts']) / 1e6:.3f}")
    kinds = collections.defaultdict(lambda: collections.defaultdict(float))
    for span in spans:
        if span["pid"] == THREADS:
            kinds[names[THREADS, span["tid"]]][span["name"]] += span["dur"] / 1e6
    for thread in sorted(kinds):
        if thread.startswith(("compute", "verify", "main")) or len(sys.argv) > 2:
            print(f"  {thread:10}", ", ".join(f"{name} {seconds:.3f}" for name, seconds in sorted(kinds[thread].items(), key=lambda i: -i[1])))
    # Moments of execution in which fewer than all compute threads worked: the serial part and the idle end.
    execute = [s for s in spans if s["pid"] == WORKFLOW and s["name"] == "execute"]
    compute = {key[1] for key, name in names.items() if key[0] == THREADS and name.startswith("compute")}
    if execute and compute:
        begin, end = execute[0]["ts"], execute[0]["ts"] + execute[0]["dur"]
        edges = []
        for span in spans:
            if span["pid"] == THREADS and span["tid"] in compute and span["name"] != "wait":
                edges += [(span["ts"], 1), (span["ts"] + span["dur"], -1)]
        busy, last, idle = 0, begin, collections.Counter()
        for moment, change in sorted(edges) + [(end, 0)]:
            idle[busy] += moment - last
            busy, last = busy + change, moment
        print("  busy compute threads:", ", ".join(f"{count}: {seconds / 1e6:.3f} s" for count, seconds in sorted(idle.items())))
        ends = {}
        for span in spans:
            if span["pid"] == THREADS and span["tid"] in compute and span["name"] != "wait":
                ends[span["tid"]] = max(ends.get(span["tid"], 0), span["ts"] + span["dur"])
        print(f"  last step of the first thread to end: {(end - min(ends.values())) / 1e6:.3f} s before the end")
    serial = sum(s["dur"] for s in spans if s["pid"] == WORKFLOW and s["name"] in ("combine", "plan", "prepare", "commit"))
    print(f"  serial stages (combine, plan, prepare, commit): {100 * serial / run['dur']:.1f} % of the run")


if __name__ == "__main__":
    main()
