#!/usr/bin/env python3
"""Runs the peers of one workload of the shared benchmark in interleaved rounds, checks what they wrote, prints the medians.

    bench.py BINARY WORKLOAD SIZE ROUNDS [PEER…]        started by ci/bench.sh, which installs, builds and generates

    limit            pread, libdeflate, unshuffle, gather, blosc, write on 2 threads; no metadata (shared/bench/limit.c)
    hand gdal xr     the expert's script on 2 processes; ncrcat + gdalmdimtranslate; xarray + dask threads: same codec and chunks
    new              gristmill, same codec and chunks, --memory as in the table of targets
    new-256MiB       the same in 256 MiB (any size may follow the dash)
    new-default      gristmill with the codec it chooses when the recipe names none
    new-source       gristmill moving the source's own compressed chunks (`codecs: source`)
    xr-default       `open_mfdataset(files).chunk(chunks).to_zarr(out)`, everything else xarray's own

CPU and peak are those of the whole process tree (summed PSS, sampled every 50 ms). Every output is compared with the sources,
value for value, in the first round; a wrong one counts as failed.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
OUT = pathlib.Path(os.environ["BENCH_OUT"])
MEMORY = {"W2": "640MiB"}
STANDARD = {"full": ["limit", "hand", "gdal", "xr", "new"], "small": ["limit", "hand", "gdal", "xr", "new"]}
STANDARD_DEFAULTS = ["new-default", "xr-default"]
PEERS = {"hand": "peers/hand.py", "gdal": "peers/cli.sh gdal", "xr": "peers/xarray_dask.py"}


def command(peer, binary, workload, size, out):
    """The words that start a peer, and the environment it needs."""
    if peer == "limit":
        return [str(OUT / "bin" / "limit"), str(plan(workload, size)), out, "2"], {}
    if peer == "xr-default":
        return [sys.executable, str(HERE / "bench_xarray.py"), workload, size, out], {}
    if peer.startswith("new"):
        kind = peer.partition("-")[2]
        named = kind in ("", "default", "source")
        memory = MEMORY.get(workload, "384MiB") if named else kind
        return [sys.executable, str(HERE / "bench_recipe.py"), binary, workload, size, out], {
            "GRISTMILL_BENCH_MEMORY": memory, "GRISTMILL_BENCH_CODECS": kind if kind in ("default", "source") else "same"}
    if peer not in PEERS:
        sys.exit(f"ci/bench.py: no peer {peer}")
    words = PEERS[peer].split()
    return [*([sys.executable] if words[0].endswith(".py") else ["sh"]), *words, workload, size, out], {}


def plan(workload, size):
    """Where the blocks of the sources are: what the limit program is told beforehand."""
    path = OUT / f"{workload}.{size}.plan"
    if not path.exists():
        subprocess.run([sys.executable, "limit_plan.py", workload, size, str(path)], check=True, stdout=sys.stderr)
    return path


def measure(peer, binary, workload, size, check):
    """One run: what it took, and whether the values are right (None: not compared)."""
    out = OUT / f"{workload}.{size}.out"
    for old in OUT.glob(f"{out.name}*"):
        shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
    words, more = command(peer, binary, workload, size, str(out))
    environment = {**os.environ, **more, "MAIN_PY": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"}
    log = open(OUT / f"log.{workload}.{peer}", "w")
    done = subprocess.run([sys.executable, "measure.py", "--out", str(out), "--", *words], env=environment, stdout=subprocess.PIPE,
                          stderr=log, text=True, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"rc"')]
    found = json.loads(lines[-1]) if lines else {"rc": done.returncode or 1}
    right = None
    if check and found["rc"] == 0 and peer not in ("limit", "xr-default"):
        verdict = subprocess.run([sys.executable, "verify.py", workload, size, str(out), *(["any-chunks"] if peer == "new-source" else [])],
                                 env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        last = (verdict.stdout.strip().splitlines() or ["no answer"])[-1]
        right = last == "OK" or (peer == "new-source" and "values" not in last and "shape" not in last)
        if not right:
            print(f"{peer}: {last}", file=sys.stderr)
    return {"workload": workload, "size": size, "peer": peer, "right": right, **found}


def table(runs):
    """Markdown: medians, and ratios to the limit and to ours."""
    peers = list(dict.fromkeys(run["peer"] for run in runs))
    medians = {}
    for peer in peers:
        good = [run for run in runs if run["peer"] == peer and run["rc"] == 0]
        if good:
            medians[peer] = {key: statistics.median(run[key] for run in good) for key in ("wall_s", "cpu_s", "peak_mb", "wchar_mb", "out_mb", "out_files")}
    limit, ours = medians.get("limit"), medians.get("new")
    rows = ["| peer | runs | wall s (range) | CPU s | wall / limit | CPU / limit | wall / ours | peak MB | written MB | store MB | files | output |", "|" + "---|" * 12]
    for peer in peers:
        mine = [run for run in runs if run["peer"] == peer]
        if peer not in medians:
            rows.append(f"| {peer} | 0 of {len(mine)} | failed |" + " |" * 9)
            continue
        m = medians[peer]
        walls = [run["wall_s"] for run in mine if run["rc"] == 0]
        ratio = lambda key, of: f"{m[key] / of[key]:.2f}" if of and of[key] else "-"
        right = {True: "right", False: "WRONG", None: "not compared"}[next((run["right"] for run in mine if run["right"] is not None), None)]
        rows.append(f"| {peer} | {len(walls)} of {len(mine)} | {m['wall_s']:.2f} ({min(walls):.2f}–{max(walls):.2f}) | {m['cpu_s']:.2f} | {ratio('wall_s', limit)} | "
                    f"{ratio('cpu_s', limit)} | {ratio('wall_s', ours)} | {m['peak_mb']:.0f} | {m['wchar_mb']:.0f} | {m['out_mb']:.0f} | {m['out_files']:.0f} | {right} |")
    return "\n".join(rows)


def main():
    binary, workload, size, rounds = sys.argv[1:5]
    peers = sys.argv[5:] or STANDARD[size] + (["new-256MiB"] if workload == "W2" else []) + STANDARD_DEFAULTS
    runs = []
    for number in range(int(rounds)):
        for peer in peers:
            run = measure(peer, binary, workload, size, number == 0)
            runs.append(run)
            print(json.dumps(run), file=sys.stderr)
            with open(OUT / "results.jsonl", "a") as kept:
                kept.write(json.dumps(run) + "\n")
    print(f"\n### {workload} {size}\n\n{table(runs)}")
    sys.exit(any(run["rc"] != 0 or run["right"] is False for run in runs if run["peer"].startswith("new")))


if __name__ == "__main__":
    main()
