#!/usr/bin/env python3
"""Bakes one workload of the shared benchmark with gristmill; what run_peers.sh calls as its NEW_TOOL.

    bench_recipe.py BINARY WORKLOAD SIZE OUT       (GRISTMILL_BENCH_MEMORY: value of --memory)

Writes the recipe (packed values kept, blosc zstd 3 with byte shuffle, the workload's chunks) beside OUT and becomes the binary.
"""
import json
import os
import pathlib
import sys


def recipe(workloads, workload, size):
    spec = workloads.W[workload]
    chunks = dict(zip(spec["dims"], workloads.chunks(workload, size)))
    return {
        "schema": 1, "id": f"bench-{workload.lower()}", "title": spec["what"], "license": "CC0-1.0",
        "inputs": {"files": workloads.files(workload, size)},
        "combine": {"concat": ["time"]},
        "output": {"chunks": chunks, "format": "zarr3",
                   "encoding": {"*": {"codecs": [{"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}]}}},
    }


def main():
    binary, workload, size, out = sys.argv[1:5]
    sys.path.insert(0, os.getcwd())  # run_peers.sh starts its tools in the folder of workloads.py
    import workloads

    folder = pathlib.Path(f"{out}.recipe")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(json.dumps(recipe(workloads, workload, size), indent=1))
    memory = os.environ.get("GRISTMILL_BENCH_MEMORY")
    more = ["--memory", memory] if memory else []
    os.execv(binary, [binary, "run", str(folder / "recipe.yaml"), "--target", out, "--quiet", *more])


if __name__ == "__main__":
    main()
