#!/usr/bin/env python3
"""Kills one bake twenty times at random moments, resumes it each time, and compares the store with an undisturbed run's.

    kill.py BINARY [RECIPE] [--kills 20] [--seed N] [--versioned] [--s3 ENDPOINT]

SIGKILL goes to the process group. Every kill hits a run in progress: a run that ends before its moment starts over with
an empty target. No object that has a receipt may be written again. Without RECIPE, data and a recipe that need some
seconds are generated. With --s3 the target is a bucket at that server (ci/servers.sh starts one).
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import netCDF4
import numpy as np

RECIPE = """\
schema: 1
id: kill
title: Data to be killed over
license: CC0-1.0
inputs:
  url: {folder}/day-{{time:%Y%m%d}}.nc
  keys:
    time: {{dates: {{start: 2001-01-01, end: 2001-0{months}-28, step: 1 day}}}}
combine: {{concat: [time]}}
output:
  chunks: {{time: 7, y: 90, x: 90}}
  encoding:
    "*": {{codecs: [{{name: blosc, configuration: {{cname: zstd, clevel: 9, shuffle: shuffle}}}}]}}
"""


def generate(folder, months):
    """Noisy float32 fields, a file a day: incompressible enough to keep an encoder busy."""
    noise = np.random.default_rng(7)
    first, last = np.datetime64("2001-01-01"), np.datetime64(f"2001-0{months}-28")
    for day in np.arange(first, last + 1):
        with netCDF4.Dataset(folder / f"day-{str(day).replace('-', '')}.nc", "w") as file:
            for name, length in (("time", None), ("y", 360), ("x", 720)):
                file.createDimension(name, length)
            time_variable = file.createVariable("time", "f8", ("time",))
            time_variable.setncatts({"units": "days since 2001-01-01", "calendar": "standard"})
            time_variable[:] = [(day - first).astype(int)]
            for name in ("u", "v"):
                variable = file.createVariable(name, "f4", ("time", "y", "x"), zlib=True, complevel=1, shuffle=True, chunksizes=(1, 180, 360))
                variable[:] = noise.standard_normal((1, 360, 720), dtype="f4").round(3)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=folder, months=months))
    return recipe


class Folder:
    """A target on the local disk; its state is beside it."""

    def __init__(self, path):
        self.url, self.path, self.state = str(path), path, pathlib.Path(f"{path}.gristmill")

    def objects(self):
        """Bytes of every object by key; the state is not part of it."""
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if path.is_file()}

    def exists(self, key):
        return (self.path / key).exists()

    def receipts(self):
        return [path.read_bytes() for path in self.state.glob("receipts/*/*.json")]

    def written(self):
        """When and where each object was written, by key."""
        stats = ((path, path.stat()) for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): (stat.st_ino, stat.st_mtime_ns) for path, stat in stats}

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)


class Bucket:
    """A target in a bucket."""

    def __init__(self, endpoint, name):
        import boto3

        self.url, self.name = f"s3://gristmill-kill/{name}", name
        os.environ.update(AWS_ENDPOINT_URL=endpoint, AWS_ALLOW_HTTP="true", AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
        self.bucket = boto3.resource("s3", region_name="us-east-1").create_bucket(Bucket="gristmill-kill")

    def below(self, prefix):
        return {found.key.removeprefix(prefix): found for found in self.bucket.objects.filter(Prefix=prefix)}

    def objects(self):
        return {key: found.get()["Body"].read() for key, found in self.below(f"{self.name}/").items()}

    def exists(self, key):
        return key in self.below(f"{self.name}/")

    def receipts(self):
        return [found.get()["Body"].read() for found in self.below(f"{self.name}.gristmill/receipts/").values()]

    def written(self):
        return {key: found.last_modified for key, found in self.below(f"{self.name}/").items()}

    def remove(self):
        self.bucket.objects.filter(Prefix=self.name).delete()


def store_hash(target):
    """SHA-256 of all keys and bytes of the store, and their number."""
    digest = hashlib.sha256()
    objects = target.objects()
    for key, body in sorted(objects.items()):
        digest.update(key.encode() + b"\0" + hashlib.sha256(body).digest())
    return digest.hexdigest(), len(objects)


def done(target):
    """When each object was written that a receipt names."""
    named = {chunk["key"] for receipt in target.receipts() for chunk in json.loads(receipt)["chunks"]}
    return {key: written for key, written in target.written().items() if key in named}


def start(binary, recipe, url, more=()):
    return subprocess.Popen([binary, "run", str(recipe), "--target", url, "--quiet", *more], start_new_session=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process, what):
    error = process.communicate(timeout=900)[1]
    if process.returncode != 0:
        sys.exit(f"{what}: exit {process.returncode}: {error.strip()}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("recipe", nargs="?")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--versioned", action="store_true", help="bake versions below the target, with a pointer")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--s3", metavar="ENDPOINT", help="bake into a bucket at this server")
    options = parser.parse_args()
    binary = str(pathlib.Path(options.binary).resolve())
    chance = random.Random(options.seed)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="gristmill-kill-"))
    try:
        kill(binary, options, chance, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def kill(binary, options, chance, scratch):
    place = (lambda name: Bucket(options.s3, name)) if options.s3 else (lambda name: Folder(scratch / name))
    undisturbed, disturbed = place("undisturbed.zarr"), place("disturbed.zarr")
    undisturbed.remove()
    disturbed.remove()
    more = ["--versioned"] if options.versioned else []
    recipe, seconds = pathlib.Path(options.recipe).resolve() if options.recipe else None, 0.0
    for months in ([0] if recipe else [2, 4, 8]):
        (scratch / "data").mkdir(exist_ok=True)
        used = recipe or generate(scratch / "data", months)
        undisturbed.remove()
        started = time.monotonic()
        finish(start(binary, used, undisturbed.url, more), "the undisturbed run")
        seconds = time.monotonic() - started
        if seconds >= 3:
            break
    wanted, objects = store_hash(undisturbed)
    print(f"undisturbed: {seconds:.1f} s, {objects} objects, {wanted[:16]}; seed {options.seed}", flush=True)
    kills = rounds = early = kept = 0
    before = {}
    while kills < options.kills:
        process = start(binary, used, disturbed.url, more)
        # Resumed runs have less and less to do; on a busy machine, where all takes longer, moments are later in proportion.
        moment = chance.uniform(0.02, seconds * 0.6)
        try:
            error = process.communicate(timeout=moment)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            early += disturbed.exists("current.json" if more else "zarr.json")
            now = done(disturbed)
            again(before, now)
            before, kept = now, kept + len(now)
            print(f"  kill {kills:2d} after {moment:5.2f} s", flush=True)
            continue
        if process.returncode != 0:
            sys.exit(f"a resumed run failed: exit {process.returncode}: {error.strip()}")
        rounds += 1
        again(before, disturbed.written())
        check(disturbed, wanted, rounds)
        disturbed.remove()
        before = {}
    finish(start(binary, used, disturbed.url, more), "the last resumed run")
    check(disturbed, wanted, rounds + 1)
    print(f"{kills} kills, {rounds + 1} bakes completed by resuming ({early} kills after the root metadata was visible): every store equals the undisturbed one; "
          f"objects that had a receipt when their run was killed: {kept}, written again: 0")


def again(before, now):
    """Nothing that had a receipt may have been written again."""
    changed = [key for key, written in before.items() if now.get(key) != written]
    if changed:
        sys.exit(f"{len(changed)} objects had a receipt and were written again, such as {changed[0]}")


def check(target, wanted, number):
    found, objects = store_hash(target)
    if found != wanted:
        sys.exit(f"bake {number}, resumed: {objects} objects with hash {found[:16]}, expected {wanted[:16]}")
    print(f"  bake {number} complete: hashes equal", flush=True)


if __name__ == "__main__":
    main()
