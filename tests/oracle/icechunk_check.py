#!/usr/bin/env python3
"""Bakes into Icechunk repositories and opens them with PyPI's icechunk, zarr-python and xarray.

    icechunk_check.py BINARY [--kills 10] [--seed N]

Locally and on S3 (a moto server that this starts): values against netCDF4, everything else against the
same bake as plain Zarr; ancestry, tags, messages and time travel over a bake, an append inside a chunk and a replacement; a
commit of another writer, which must be told (exit 6) and stay; two runs at once; runs killed at random moments, whose content must
be that of an undisturbed run. Exit 1 at the first difference.
"""
import argparse
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings

import boto3
import icechunk
import netCDF4
import numpy as np
import xarray as xr
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

import kill

BUCKET = "gristmill-icechunk"
DAYS = 10  # of each of the small files
RECIPE = """\
schema: 1
id: {id}
title: Waves of nothing
license: CC0-1.0
inputs:
  files: [{files}]
combine: {{concat: [time]}}
output:
  format: {format}
  chunks: {{time: {chunk}, y: 5}}
"""

warnings.simplefilter("error")
icechunk.set_logs_filter("error")
# What has nothing to do with the stores that are opened.
warnings.filterwarnings("ignore", module="botocore")
warnings.filterwarnings("ignore", message=".*datetime.*utc.*", category=DeprecationWarning)


def check(holds, message):
    if not holds:
        sys.exit(f"FAIL {message}")


def make_file(folder, number):
    """Packed integers with missing ones, floats with NaN, texts, a scalar and a static field."""
    path = folder / f"part-{number}.nc"
    noise = np.random.default_rng(number)
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({"source": "nowhere", "Conventions": "CF-1.8"})
        for name, length in (("time", None), ("y", 7), ("x", 11)):
            file.createDimension(name, length)
        moments = file.createVariable("time", "f8", ("time",))
        moments.setncatts({"units": "days since 2001-01-01", "calendar": "noleap", "standard_name": "time"})
        moments[:] = np.arange(DAYS) + number * DAYS
        for name, length in (("y", 7), ("x", 11)):
            file.createVariable(name, "f4", (name,))[:] = np.arange(length) / 4
        packed = file.createVariable("sst", "i2", ("time", "y", "x"), fill_value=-999)
        packed.setncatts({"units": "degC", "scale_factor": 0.01, "add_offset": 3.0})
        packed.set_auto_maskandscale(False)
        values = noise.integers(-500, 500, (DAYS, 7, 11)).astype("i2")
        values[noise.random(values.shape) < 0.1] = -999
        packed[:] = values
        wind = noise.standard_normal((DAYS, 7, 11), dtype="f4")
        wind[0, 0, 0] = np.nan
        file.createVariable("wind", "f4", ("time", "y", "x"), zlib=True)[:] = wind
        names = file.createVariable("name", str, ("time",))
        for day in range(DAYS):
            names[day] = f"day {number * DAYS + day} ☀"
        file.createVariable("mask", "i1", ("y", "x"))[:] = np.arange(77).reshape(7, 11) % 2
        file.createVariable("crs", "i4", ())[...] = 4326
    return path


class Place:
    """Where targets are: a folder, or a bucket."""

    def __init__(self, folder, endpoint=None):
        self.folder, self.endpoint, self.count = folder, endpoint, 0
        self.name = "s3" if endpoint else "local"

    def new(self):
        self.count += 1
        return f"s3://{BUCKET}/{self.folder.name}/{self.count}" if self.endpoint else str(self.folder / f"target-{self.count}")

    def repository(self, target):
        if not self.endpoint:
            return icechunk.Repository.open(icechunk.local_filesystem_storage(target))
        prefix = target.removeprefix(f"s3://{BUCKET}/")
        return icechunk.Repository.open(icechunk.s3_storage(
            bucket=BUCKET, prefix=prefix, endpoint_url=self.endpoint, region="us-east-1", allow_http=True, force_path_style=True,
            access_key_id=os.environ["AWS_ACCESS_KEY_ID"], secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"]))


def write_recipe(folder, files, format="icechunk", chunk=8, identity="waves"):
    path = folder / f"{identity}-{format}-{len(files)}-{chunk}.yaml"
    path.write_text(RECIPE.format(id=identity, format=format, chunk=chunk, files=", ".join(map(str, files))))
    return path


def bake(binary, recipe, target, *options, exit=0, says=""):
    done = subprocess.run([binary, "run", str(recipe), "--target", target, *options], capture_output=True, text=True, check=False)
    check(done.returncode == exit, f"{target}: exit {done.returncode} instead of {exit}: {done.stderr.strip()}")
    check(says in done.stdout + done.stderr, f"{target}: no {says!r} in {done.stderr.strip()}")


def content(store):
    """Every key with the SHA-256 of its bytes; the root without the consolidated copy that only plain Zarr has."""
    async def read():
        found = {}
        async for key in store.list():
            value = await store.get(key, default_buffer_prototype())
            found[key] = hashlib.sha256(value.to_bytes()).hexdigest()
        return found
    found = sync(read())
    found.pop("zarr.json")
    return found


def compare(session, files, plain, where):
    """A session against the sources, through netCDF4, and against the same bake as plain Zarr."""
    store = session.store
    raw = zarr.open_group(store, mode="r")
    reference = zarr.open_group(plain, mode="r")
    check(dict(raw.attrs) == dict(reference.attrs), f"{where}: attributes of the whole differ")
    check(set(raw.array_keys()) == set(reference.array_keys()) == {"time", "y", "x", "sst", "wind", "name", "mask", "crs"}, f"{where}: arrays")
    for name, array in raw.arrays():
        check(array.metadata.to_dict() == reference[name].metadata.to_dict(), f"{where}: metadata of {name} differs")
        parts = []
        for path in files:
            with netCDF4.Dataset(path) as file:
                file.set_auto_mask(False)
                file.set_auto_scale(False)
                parts.append(np.asarray(file[name][...]))
        of_time = array.metadata.dimension_names and array.metadata.dimension_names[0] == "time"
        expected = np.concatenate(parts) if of_time else parts[0]
        values = np.asarray(array[...])
        check(values.shape == expected.shape, f"{where}: {name} is {values.shape}, not {expected.shape}")
        same = np.array_equal(values, expected, equal_nan=True) if values.dtype.kind == "f" else np.array_equal(values, expected)
        check(same, f"{where}: values of {name} differ from the sources")
    decoded = xr.open_zarr(store, consolidated=False, chunks=None)
    with xr.open_mfdataset([str(path) for path in files], combine="nested", concat_dim="time", data_vars="minimal", coords="minimal",
                           compat="override") as expected:
        for name in ("sst", "wind", "time"):
            np.testing.assert_array_equal(decoded[name].values, expected[name].values, err_msg=f"{where}: {name} decoded")
    check(content(store) == content(reference.store), f"{where}: keys or bytes differ from plain Zarr")


def history(binary, place, folder, files):
    """A bake, an append that begins inside a chunk, a replacement; every step can still be read."""
    plain = {}
    for count in (2, 3):
        plain[count] = str(folder / f"plain-{place.name}-{count}")
        bake(binary, write_recipe(folder, files[:count], "zarr3"), plain[count])
    target = place.new()
    bake(binary, write_recipe(folder, files[:2]), target, says="icechunk.Repository.open")
    repository = place.repository(target)
    commits = list(repository.ancestry(branch="main"))
    check(len(commits) == 2 and commits[0].message.startswith("waves: Waves of nothing (plan "), f"{target}: ancestry {commits}")
    tag = commits[0].metadata["gristmill"]["plan"][:12]
    check(repository.list_tags() == {tag} and repository.lookup_tag(tag) == commits[0].id, f"{target}: tags {repository.list_tags()}")
    check(repository.list_branches() == {"main"}, f"{target}: branches {repository.list_branches()}")
    compare(repository.readonly_session("main"), files[:2], plain[2], f"{target}, first bake")

    bake(binary, write_recipe(folder, files[:3]), target)
    repository = place.repository(target)
    check(len(list(repository.ancestry(branch="main"))) == 3, f"{target}: an append is one commit")
    compare(repository.readonly_session("main"), files[:3], plain[3], f"{target}, append")
    compare(repository.readonly_session(tag=tag), files[:2], plain[2], f"{target}, before the append, by tag")
    compare(repository.readonly_session(snapshot_id=commits[0].id), files[:2], plain[2], f"{target}, before the append, by snapshot")
    bake(binary, write_recipe(folder, files[:3]), target, says="nothing to do")

    session = repository.writable_session("main")
    zarr.open_group(session.store, mode="a").attrs["by"] = "somebody else"
    theirs = session.commit("by somebody else")
    bake(binary, write_recipe(folder, files[:4]), target, exit=6, says="target-moved")
    check(place.repository(target).lookup_branch("main") == theirs, f"{target}: their commit is gone")
    bake(binary, write_recipe(folder, files[:2]), target, "--replace")
    repository = place.repository(target)
    check([commit.id for commit in repository.ancestry(branch="main")][1] == theirs, f"{target}: history after the replacement")
    compare(repository.readonly_session("main"), files[:2], plain[2], f"{target}, replaced")
    check(len(repository.list_tags()) == 3, f"{target}: a plan that is committed again has a tag of its own: {repository.list_tags()}")
    print(f"{place.name}: bake, append inside a chunk, commit of another writer, replacement, time travel: equal")


def race(binary, place, folder, files):
    """Two runs at once: one does it, the other does it after it or is told to wait; neither is half there."""
    plain = str(folder / f"plain-{place.name}-3")
    recipes = [write_recipe(folder, files[:count]) for count in (2, 3)]
    for _ in range(3):
        target = place.new()
        runs = [subprocess.Popen([binary, "run", str(recipe), "--target", target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for recipe in recipes]
        told = [run.communicate()[1] for run in runs]
        exits = [run.returncode for run in runs]
        check(0 in exits and set(exits) <= {0, 6}, f"{target}: exits {exits}: {told}")
        for exit, message in zip(exits, told):
            check(exit == 0 or "target-held" in message or "append-refused" in message, f"{target}: {message}")
        bake(binary, recipes[1], target)
        repository = place.repository(target)
        compare(repository.readonly_session("main"), files[:3], plain, f"{target}, after a race")
        check(len(list(repository.ancestry(branch="main"))) <= 3 and repository.list_branches() == {"main"}, f"{target}: commits after a race")
    print(f"{place.name}: two runs at once, three times: one dataset, whole")


def kills(binary, place, recipe, count, seed):
    """Kills one bake at random moments until it has been killed so often; its content is an undisturbed run's."""
    moments = random.Random(seed)
    calm, target = place.new(), place.new()
    begun = time.monotonic()
    kill.finish(kill.start(binary, recipe, calm), "undisturbed run")
    lasts = time.monotonic() - begun
    expected = content(place.repository(calm).readonly_session("main").store)
    killed = runs = 0
    while killed < count:
        process = kill.start(binary, recipe, target)
        runs += 1
        try:
            told = process.communicate(timeout=moments.uniform(0.02, lasts * 1.1))[1]
            check(process.returncode == 0, f"a resumed run failed: {told}")
            target = place.new()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            killed += 1
            if visible(place, target):
                check(content(place.repository(target).readonly_session("main").store) == expected, "a part was visible")
    kill.finish(kill.start(binary, recipe, target), "last run")
    repository = place.repository(target)
    check(content(repository.readonly_session("main").store) == expected, f"{target}: content differs after {killed} kills")
    check(len(list(repository.ancestry(branch="main"))) == 2 and repository.list_branches() == {"main"}, f"{target}: more than one commit")
    print(f"{place.name}: {killed} kills in {runs} runs (seed {seed}, one run lasts {lasts:.1f} s): content equal, one commit")


def visible(place, target):
    """True if `main` holds anything."""
    try:
        repository = place.repository(target)
    except icechunk.IcechunkError:
        return False
    return len(list(repository.ancestry(branch="main"))) > 1


def moto(folder):
    """(endpoint, process to stop) of an S3 server whose conditional puts can be relied on."""
    port = 20000 + os.getpid() % 20000
    endpoint = f"http://127.0.0.1:{port}"
    with open(folder / "moto.log", "w") as log:
        program = pathlib.Path(__file__).with_name("moto_in_turn.py")
        server = subprocess.Popen([sys.executable, str(program), str(port)], stdout=log, stderr=log)
    os.environ.update(AWS_ENDPOINT_URL=endpoint, AWS_REGION="us-east-1", AWS_ALLOW_HTTP="true",
                      AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    for attempt in range(100):
        try:
            client.create_bucket(Bucket=BUCKET)
            break
        except Exception:
            check(attempt < 99 and server.poll() is None, f"no S3 server at {endpoint}: {(folder / 'moto.log').read_text()}")
            time.sleep(0.3)
    return endpoint, server


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.binary).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gristmill-icechunk-"))
    server = None
    try:
        endpoint, server = moto(folder)
        files = [make_file(folder, number) for number in range(4)]
        large = folder / "large"
        large.mkdir()
        recipe = kill.generate(large, 1)
        recipe.write_text(recipe.read_text().replace("output:\n", "output:\n  format: icechunk\n"))
        print(f"icechunk {icechunk.__version__}, zarr {zarr.__version__}, xarray {xr.__version__}, Python {sys.version.split()[0]}")
        for place in (Place(folder), Place(folder, endpoint)):
            history(binary, place, folder, files)
            race(binary, place, folder, files)
            kills(binary, place, recipe, arguments.kills, arguments.seed)
    finally:
        if server:
            server.terminate()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)
    print("icechunk: all equal")


if __name__ == "__main__":
    main()
