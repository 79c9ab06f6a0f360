#!/usr/bin/env python3
"""Bakes every case × chunking × format × place with the gristmill binary and compares each store with its sources.

    run.py BINARY [--only SUBSTRING]… [--keep] [--jobs N]

Each store is clean for `gristmill verify --receipts --read-data` and baked a second time, which must find nothing to do; stores of variants of one case must be equal. Prints a table
(seconds of the bake + of the comparison) and `N passed, N failed`; exit 1 if one failed. `$SHARED` in cases is ../shared (GRISTMILL_SHARED moves it). The
S3 server is GRISTMILL_TEST_S3 (its endpoint), else a moto server that this starts.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import glob
import logging
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import boto3
import fsspec
import yaml
import zarr

import compare

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("GRISTMILL_SHARED", HERE.parents[2] / "shared")).resolve()
FORMATS = {"zarr3": {"format": "zarr3"}, "zarr2": {"format": "zarr2"}, "sharded": {"format": "zarr3"}}
CHUNKINGS = ("series", "maps")
PLACES = ("local", "s3")
BUCKET = "gristmill-oracle"
CODECS = [{"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}]


def substituted(value, variant):
    if isinstance(value, dict):
        return {key: substituted(one, variant) for key, one in value.items()}
    if isinstance(value, list):
        return [substituted(one, variant) for one in value]
    return value.replace("$SHARED", str(SHARED)).replace("$VARIANT", variant) if isinstance(value, str) else value


def expanded(patterns):
    files = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    if not files:
        raise SystemExit(f"no file matches {patterns}: is the shared data at {SHARED}?")
    return files


def load(path):
    """One case per variant of a case file."""
    raw = yaml.safe_load(path.read_text())
    for variant in raw.get("variants", [""]):
        case = substituted(raw, variant)
        case["name"] = path.stem + (f" [{variant}]" if variant else "")
        case["groups"] = [expanded(group) for group in case["groups"]]
        inputs = case["recipe"]["inputs"]
        if "files" in inputs:
            inputs["files"] = expanded(inputs["files"])
        yield case


def combination(case, chunking, format_name):
    """(recipe, what compare.py must know) of one run."""
    output = {"chunks": case[chunking], "encoding": {"*": {"codecs": CODECS}}, **FORMATS[format_name]}
    checked = {key: case.get(key) for key in ("groups", "concat", "decode", "data", "coords", "rename") if key in case}
    checked |= {"chunks": case[chunking], "zarr_format": 2 if format_name == "zarr2" else 3}
    if format_name == "sharded":
        output["shards"] = checked["shards"] = case["shards"][chunking]
    return {**case["recipe"], "output": output}, checked


def bake(binary, folder, target, *options):
    return subprocess.run([binary, "run", str(folder / "recipe.yaml"), "--target", target, *options],
                          capture_output=True, text=True, timeout=300, cwd=folder, stdin=subprocess.DEVNULL)


def listing(target):
    """What would change if any object were written again."""
    filesystem, root = fsspec.core.url_to_fs(target, **compare.storage_options(target))
    filesystem.invalidate_cache()
    return {key: (one.get("mtime") or one.get("LastModified"), one["size"]) for key, one in filesystem.find(root, detail=True).items()}


def run_one(binary, recipe, checked, target, folder):
    """Seconds of the bake and of the comparison, and the problems of both and of a second run, which has nothing to do."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (folder / "case.yaml").write_text(yaml.safe_dump(checked))
    started = time.monotonic()
    baked = bake(binary, folder, target, "--quiet")
    seconds = time.monotonic() - started
    if baked.returncode != 0:
        return seconds, 0.0, [f"gristmill: exit {baked.returncode}: {baked.stderr.strip()[:600]}"]
    if baked.stdout:
        return seconds, 0.0, [f"gristmill --quiet wrote to stdout: {baked.stdout[:200]}"]
    started = time.monotonic()
    problems = compare.compare(checked, target)
    compared = time.monotonic() - started
    verified = subprocess.run([binary, "verify", target, "--receipts", "--read-data", "--quiet"],
                              capture_output=True, text=True, timeout=300, cwd=folder, stdin=subprocess.DEVNULL)
    if verified.returncode != 0:
        problems.append(f"verify: exit {verified.returncode}: {verified.stderr.strip()[:600]}")
    before = listing(target)
    again = bake(binary, folder, target)
    if again.returncode != 0 or "nothing to do" not in again.stdout:
        problems.append(f"second run: exit {again.returncode}: {(again.stdout + again.stderr).strip()[:600]}")
    if listing(target) != before:
        problems.append("second run: it wrote to the complete store")
    return seconds, compared, problems


def work(job):
    """One row of the table; a run that breaks is a failed run, whatever broke."""
    title, *rest = job
    try:
        return title, *run_one(*rest)
    except Exception:
        return title, 0.0, 0.0, traceback.format_exc().splitlines()[-3:]


def differing(stores):
    """Variables whose raw values differ between stores that were made from equal sources."""
    first, *others = [zarr.open_group(store, mode="r", **({"storage_options": options} if (options := compare.storage_options(store)) else {})) for store in stores]
    for other in others:
        names = sorted(set(first.array_keys()) | set(other.array_keys()))
        for name in names:
            if name not in first or name not in other or first[name].dtype != other[name].dtype or first[name][...].tobytes() != other[name][...].tobytes():
                yield f"`{name}` differs between {first.store_path} and {other.store_path}"


def foreign(binary, recipe, folder):
    """Problems of a bake into a folder that holds something else, which must be refused and left alone."""
    target = folder / "foreign"
    target.mkdir(parents=True)
    (target / "notes.txt").write_text("mine")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    refused = bake(binary, folder, str(target))
    problems = [] if refused.returncode == 6 else [f"exit {refused.returncode}, expected 6: {refused.stderr.strip()[:600]}"]
    left = {path.name for path in target.iterdir()}
    return problems + ([] if left == {"notes.txt"} else [f"it holds {sorted(left)} now"])


@contextlib.contextmanager
def s3():
    """Environment of an S3 server with our bucket."""
    server = None
    endpoint = os.environ.get("GRISTMILL_TEST_S3")
    if not endpoint:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
    os.environ.update(AWS_ENDPOINT_URL=endpoint, AWS_ALLOW_HTTP="true")
    for key, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        os.environ.setdefault(key, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        client.create_bucket(Bucket=BUCKET)
    try:
        yield
    finally:
        if server:
            server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--only", action="append", default=[], help="substring of `case chunking format place`; repeatable, all must match")
    parser.add_argument("--keep", action="store_true", help="keep recipes and local stores")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    binary = str(pathlib.Path(options.binary).resolve())
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="gristmill-oracle-"))
    jobs, twins = [], collections.defaultdict(list)
    for path in sorted((HERE / "cases").glob("*.yaml")):
        for case in load(path):
            for chunking in CHUNKINGS:
                for format_name in FORMATS:
                    for place in PLACES:
                        title = f"{case['name']} {chunking} {format_name} {place}"
                        if all(word in title for word in options.only):
                            recipe, checked = combination(case, chunking, format_name)
                            folder = scratch / f"{len(jobs):03d}"
                            target = f"s3://{BUCKET}/{folder.name}-{os.getpid()}" if place == "s3" else str(folder / "out.zarr")
                            jobs.append((title, binary, recipe, checked, target, folder))
                            twins[path.stem, chunking, format_name, place].append(target)
    if not jobs:
        raise SystemExit(f"no case matches {options.only}")

    failed = 0

    def row(title, problems, seconds=""):
        nonlocal failed
        failed += bool(problems)
        print(f"{'ok  ' if not problems else 'FAIL'} {seconds:16} {title}", flush=True)
        for problem in problems[:12]:
            print(f"        {problem}", flush=True)

    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with s3(), concurrent.futures.ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        for title, baked, compared, problems in pool.map(work, jobs):
            row(title, problems, f"{baked:6.2f} + {compared:5.2f} s")
        several = {key: stores for key, stores in twins.items() if len(stores) > 1}
        for key, stores in several.items():
            try:
                row(f"{' '.join(key)}: {len(stores)} stores are equal", list(differing(stores)))
            except Exception as error:
                row(f"{' '.join(key)}: {len(stores)} stores are equal", [repr(error)])
    row("a folder that holds something else is refused and left alone", foreign(binary, jobs[0][2], scratch / "foreign"))
    if options.keep:
        print(f"kept: {scratch}")
    else:
        shutil.rmtree(scratch)
    print(f"{len(jobs) + len(several) + 1 - failed} passed, {failed} failed, {time.monotonic() - started:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
