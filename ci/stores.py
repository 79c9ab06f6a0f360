#!/usr/bin/env python3
"""One store: the probe, a bake, an append, versions, `verify` of each, two runs at once; says what happened and fails if it is not what must happen there.

    stores.py BINARY NAME      the server is named by AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY

NAME decides what must happen: on `moto` everything is allowed; on the others an append in place needs the operator's word, and a
new version does not.
"""
import functools
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import boto3
import netCDF4
import numpy as np
import xarray as xr
from botocore.config import Config

BUCKET = "gristmill"
RECIPE = """\
schema: 1
id: stores
title: Days
license: CC0-1.0
inputs: {{files: [{files}]}}
combine: {{concat: [time]}}
output:
  chunks: {{time: 2, y: 60, x: 80}}
"""
ROUNDS = 10


def write_day(folder, number):
    """Noise, 120 x 160, one step."""
    noise = np.random.default_rng(number)
    with netCDF4.Dataset(folder / f"{number}.nc", "w") as file:
        for name, length in (("time", None), ("y", 120), ("x", 160)):
            file.createDimension(name, length)
        time_variable = file.createVariable("time", "f8", ("time",))
        time_variable.units = "days since 2001-01-01"
        time_variable[:] = [number]
        file.createVariable("t", "f4", ("time", "y", "x"), chunksizes=(1, 120, 160), zlib=True)[:] = noise.standard_normal((1, 120, 160))


def recipe(folder, files):
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(files=", ".join(files)))
    return path


class Slow(http.server.SimpleHTTPRequestHandler):
    """Serves the days so slowly that two runs meet."""

    def do_GET(self):
        time.sleep(2.5)
        super().do_GET()

    def log_message(self, *arguments):
        pass


def gristmill(binary, *arguments):
    return subprocess.run([binary, *arguments], capture_output=True, text=True)


def told(result):
    """Exit code and the first line of what was said."""
    lines = (result.stderr or result.stdout).strip().splitlines() or [""]
    return f"exit {result.returncode}: {lines[0]}" if result.returncode else "exit 0"


def opened(client, target, lengths):
    """The store as xarray reads it, from a copy of its objects, against the files' own values."""
    with tempfile.TemporaryDirectory() as copy:
        prefix = target.split("/", 3)[3] + "/"
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for entry in page.get("Contents", []):
                path = pathlib.Path(copy, entry["Key"].removeprefix(prefix))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
        with xr.open_zarr(copy) as dataset:
            values = dataset["t"].values
    wanted = np.concatenate([np.random.default_rng(day).standard_normal((1, 120, 160)).astype("f4") for day in range(lengths)])
    return values.shape == wanted.shape and bool((values == wanted).all())


def verified(binary, target):
    """The last line of `verify`, which reads every byte and a sample of the files, and whether it found nothing wrong."""
    result = gristmill(binary, "verify", target, "--receipts", "--read-data", "--against-source")
    return (result.stdout or result.stderr).strip().splitlines()[-1], result.returncode == 0


def main():
    binary, name = sys.argv[1:3]
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1",
                          config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required",
                                        response_checksum_validation="when_required"))
    try:
        client.create_bucket(Bucket=BUCKET)
    except Exception as error:  # noqa: BLE001, it may be there
        if "Already" not in str(error):
            raise
    run = f"{os.getpid()}-{int(time.time())}"
    wrong = []

    def expect(what, is_so):
        if not is_so:
            wrong.append(what)
            print(f"  NOT AS EXPECTED: {what}")

    probe = gristmill(binary, "store", "probe", f"s3://{BUCKET}/{run}/probe.zarr")
    print(probe.stdout or probe.stderr)
    expect("the probe ends well", probe.returncode == 0)
    modes = {entry["mode"]: entry["answer"] for entry in
             json.loads(gristmill(binary, "store", "probe", "--json", f"s3://{BUCKET}/{run}/probe.zarr").stdout)["modes"]}
    expect("the probe knows this store", modes["append"] == ("yes" if name == "moto" else "alone"))
    left = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{run}/").get("KeyCount", 0)
    expect(f"the probe leaves nothing, not {left} objects", left == 0)

    with tempfile.TemporaryDirectory() as directory:
        folder = pathlib.Path(directory)
        for day in range(12):
            write_day(folder, day)
        target = f"s3://{BUCKET}/{run}/out.zarr"
        begun = time.monotonic()
        bake = gristmill(binary, "run", str(recipe(folder, [f"{day}.nc" for day in range(8)])), "--target", target, "--quiet")
        print(f"bake of 8 days: {told(bake)} ({time.monotonic() - begun:.1f} s)")
        expect("the bake ends well", bake.returncode == 0)
        expect("the bake reads back as its files", opened(client, target, 8))
        recipe(folder, [f"{day}.nc" for day in range(12)])
        append = gristmill(binary, "run", str(folder / "recipe.yaml"), "--target", target, "--quiet")
        print(f"append of 4 days: {told(append)}")
        if modes["append"] == "yes":
            expect("the append ends well", append.returncode == 0)
        else:
            expect("the append is refused with exit 6", append.returncode == 6 and "target-unable" in append.stderr)
            expect("readers still see the 8 days", opened(client, target, 8))
            append = gristmill(binary, "run", str(folder / "recipe.yaml"), "--target", target, "--quiet", "--single-writer")
            print(f"append of 4 days, --single-writer: {told(append)}")
            expect("the append ends well with the operator's word", append.returncode == 0)
        expect("the appended store reads back as its files", opened(client, target, 12))
        line, is_well = verified(binary, target)
        print(f"verify --receipts --read-data --against-source: {line}")
        expect("verify finds nothing wrong", is_well)

        versions = f"s3://{BUCKET}/{run}/versions"
        for days in (8, 12):
            path = str(recipe(folder, [f"{day}.nc" for day in range(days)]))
            version = gristmill(binary, "run", path, "--target", versions, "--versioned", "--quiet")
            pointer = json.loads(client.get_object(Bucket=BUCKET, Key=f"{run}/versions/current.json")["Body"].read())
            line, is_well = verified(binary, versions)
            print(f"version of {days} days, --versioned: {told(version)}; verify: {line}")
            expect(f"the version of {days} days is current and reads back as its files",
                   version.returncode == 0 and is_well and opened(client, f"{versions}/{pointer['version']}", days))

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Slow, directory=directory))
        # Who is told that the target is held leaves in the middle of an answer.
        server.handle_error = lambda *arguments: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        slow = recipe(folder, [f"'{address}/{day}.nc'" for day in range(8)])
        duels = []
        for round_number in range(ROUNDS):
            where = f"s3://{BUCKET}/{run}/duel-{round_number}.zarr"
            pair = [subprocess.Popen([binary, "run", str(slow), "--target", where, "--quiet"], text=True,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
            duels.append((where, pair))
            if round_number % 5 == 4:
                # Five pairs at a time.
                for _, waited in duels:
                    for process in waited:
                        process.wait()
        ended = [[(process.wait(), process.stderr.read()) for process in pair] for _, pair in duels]
        codes = [sorted(code for code, _ in pair) for pair in ended]
        print(f"two runs at once, {ROUNDS} rounds: exit codes {sorted(map(str, codes))}")
        losers = [text.strip().splitlines()[0] for pair in ended for code, text in pair if code == 6]
        if losers:
            print(f"  the loser says: {losers[0]}")
        expect("in each round one wins and the other exits 6", all(code == [0, 6] for code in codes))
        expect("what the winners wrote reads back as the files", all(opened(client, where, 8) for where, _ in duels))
        server.shutdown()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
