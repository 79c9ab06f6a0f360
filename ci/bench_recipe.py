#!/usr/bin/env python3
"""Bakes one workload of the shared benchmark with gristmill; started by ci/bench.py.

    bench_recipe.py BINARY WORKLOAD SIZE OUT

Writes the recipe (packed values kept, the workload's chunks) beside OUT and becomes the binary. From the environment:
GRISTMILL_BENCH_MEMORY and GRISTMILL_BENCH_THREADS are --memory and --threads; GRISTMILL_BENCH_CODECS is `same` (blosc zstd 3 with byte
shuffle, as all peers), `default` (the recipe names none) or `source` (the source's own compressed chunks, moved, in shards of the workload's chunks).
"""
import json
import os
import pathlib
import sys


SAME = [{"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}]


def output(workloads, workload, size, codecs):
    spec = workloads.W[workload]
    chunks = dict(zip(spec["dims"], workloads.chunks(workload, size)))
    if codecs == "source":
        return {"format": "zarr3", "encoding": {"*": {"codecs": "source"}}}
    named = {"encoding": {"*": {"codecs": SAME}}} if codecs == "same" else {}
    return {"chunks": chunks, "format": "zarr3", **named}


def recipe(workloads, workload, size, codecs):
    spec = workloads.W[workload]
    return {
        "schema": 1, "id": f"bench-{workload.lower()}", "title": spec["what"], "license": "CC0-1.0",
        "inputs": {"files": workloads.files(workload, size)},
        "combine": {"concat": ["time"]},
        "output": output(workloads, workload, size, codecs),
    }


def main():
    binary, workload, size, out = sys.argv[1:5]
    sys.path.insert(0, os.getcwd())  # ci/bench.sh starts it in the folder of workloads.py
    import workloads

    folder = pathlib.Path(f"{out}.recipe")
    folder.mkdir(parents=True, exist_ok=True)
    codecs = os.environ.get("GRISTMILL_BENCH_CODECS", "same")
    (folder / "recipe.yaml").write_text(json.dumps(recipe(workloads, workload, size, codecs), indent=1))
    settings = {"--memory": os.environ.get("GRISTMILL_BENCH_MEMORY"), "--threads": os.environ.get("GRISTMILL_BENCH_THREADS")}
    more = [word for name, value in settings.items() if value for word in (name, value)]
    os.execv(binary, [binary, "run", str(folder / "recipe.yaml"), "--target", out, "--quiet", *more])


if __name__ == "__main__":
    main()
