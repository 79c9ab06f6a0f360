#!/usr/bin/env python3
"""How fast 1,000 local files are scanned, against xarray.open_mfdataset, in turn.

    ci/scan_speed.py BINARY FOLDER [FILES] [ROUNDS]      FOLDER holds W5's files (`many` of the shared benchmark); needs xarray, dask, netCDF4

`gristmill plan` starts with an empty cache each time; both sides pay for starting their process. Fails below a ratio of 5.
"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

OPEN = "import sys, xarray; xarray.open_mfdataset(sys.argv[2:], combine='nested', concat_dim='time', parallel=sys.argv[1] == 'parallel').close()"


def seconds(command, environment):
    begun = time.monotonic()
    done = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.monotonic() - begun if done.returncode == 0 else None


def main():
    binary, folder = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    files = [str(path) for path in sorted(pathlib.Path(folder).glob("*.nc"))[:count]]
    mode, ratios = "parallel", []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            recipe = pathlib.Path(scratch, "recipe.yaml")
            listed = "".join(f"    - {path}\n" for path in files)
            recipe.write_text(f"schema: 1\nid: many\ntitle: Many\nlicense: CC0-1.0\ninputs:\n  files:\n{listed}combine: {{concat: [time]}}\n")
            ours = seconds([binary, "plan", str(recipe), "--quiet"], {"XDG_CACHE_HOME": scratch})
        theirs = seconds([sys.executable, "-c", OPEN, mode, *files], {})
        if theirs is None and mode == "parallel":
            # netCDF4 is not safe to call from dask's threads; the other way is what people then use.
            print("xarray with parallel=True crashed; parallel=False is compared instead")
            mode = "serial"
            theirs = seconds([sys.executable, "-c", OPEN, mode, *files], {})
        if ours is None or theirs is None:
            sys.exit(f"round {number}: {'gristmill' if ours is None else 'xarray'} failed")
        ratios.append(theirs / ours)
        print(f"{len(files)} files: gristmill {ours:.2f} s, xarray ({mode}) {theirs:.2f} s: {theirs / ours:.1f} times")
    ratio = statistics.median(ratios)
    print(f"median {ratio:.1f} times")
    sys.exit(ratio < 5)


if __name__ == "__main__":
    main()
