#!/usr/bin/env python3
"""Bakes tests/data/moved-chunks with `codecs: source` and compares each store with netCDF4, xarray and, chunk by chunk, h5py.

    moved.py BINARY

Raw values through zarr-python must be those of netCDF4 (missing floats: NaN), decoded values through xarray those of
`xarray.open_mfdataset`; the only warning that opening may raise is zarr-python's about numcodecs in Zarr 3. Of each file so many chunks
as `MOVED` says must be in the store byte for byte, at their place. Exit 1 if anything differs.
"""
import pathlib
import subprocess
import sys
import tempfile
import warnings

import h5py
import netCDF4
import numpy as np
import xarray
import yaml
import zarr

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "moved-chunks"
FILES = sorted(DATA.glob("*.nc"))
ENCODING = {"encoding": {"*": {"codecs": "source"}}}
OUTPUTS = {
    "zarr2": {"format": "zarr2", **ENCODING},
    "zarr3": {"chunks": {"time": 1, "row": 4}, **ENCODING},
    "zarr3, automatic shards": ENCODING,
    "zarr3, own shards": {"shards": {"time": 4, "row": 8}, **ENCODING},
}
# What make.py says of each file; in its order.
MOVED = {"packed": [6, 3, 0, 0, 0, 0, 0, 6, 6], "field": [4, 4, 0, 0, 0, 0, 0, 3, 4]}


def recipe(output):
    return {"schema": 1, "id": "moved", "title": "moved", "license": "CC0-1.0", "inputs": {"files": [str(path) for path in FILES]},
            "combine": {"concat": ["time"]}, "output": output}


def raw(name):
    parts = []
    for path in FILES:
        with netCDF4.Dataset(path) as file:
            file.set_auto_maskandscale(False)
            parts.append(np.asarray(file[name][...]).astype(file[name].dtype.newbyteorder("=")))
    whole = np.concatenate(parts)
    return np.where(whole == np.float32(1e20), np.float32("nan"), whole) if name == "field" else whole


def stored_chunk(array, folder, index):
    """A chunk's bytes as they lie in the store."""
    shards = getattr(array, "shards", None) or array.chunks
    inner = [shard // chunk for shard, chunk in zip(shards, array.chunks)]
    where = [number // count for number, count in zip(index, inner)]
    dotted = array.metadata.zarr_format == 2
    data = folder.joinpath(*([".".join(map(str, where))] if dotted else ["c", *map(str, where)])).read_bytes()
    if shards == array.chunks:
        return data
    number = np.ravel_multi_index([number % count for number, count in zip(index, inner)], inner)
    offset, length = np.frombuffer(data[-4 - 16 * np.prod(inner):-4], "<u8").reshape(-1, 2)[number]
    return data[offset:offset + length]


def moved(array, folder, name):
    """How many chunks of each file the store holds as they are."""
    counts = []
    for number, path in enumerate(FILES):
        with h5py.File(path) as file:
            dataset = file[name]
            count = 0
            for one in range(dataset.id.get_num_chunks() if dataset.chunks == array.chunks else 0):
                offset = dataset.id.get_chunk_info(one).chunk_offset
                index = [start // length for start, length in zip((offset[0] + 2 * number, *offset[1:]), array.chunks)]
                count += dataset.id.read_direct_chunk(offset)[1] == stored_chunk(array, folder, index)
            counts.append(count)
    return counts


def problems(binary, output, folder, expected):
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe(output)))
    target = folder / "out.zarr"
    baked = subprocess.run([binary, "run", str(folder / "recipe.yaml"), "--target", str(target), "--quiet"], capture_output=True, text=True)
    if baked.returncode:
        yield f"exit {baked.returncode}: {baked.stderr}"
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened = xarray.open_zarr(target).load()
        group = zarr.open_group(target, mode="r")
        for name, counts in expected.items():
            if group[name][...].tobytes() != raw(name).tobytes():
                yield f"`{name}`: raw values differ"
            if counts is not None and moved(group[name], target / name, name) != counts:
                yield f"`{name}`: moved {moved(group[name], target / name, name)}, expected {counts}"
    said = {str(one.message).split(" are ")[0] for one in caught}
    if said != (set() if output.get("format") == "zarr2" else {"Numcodecs codecs"}):
        yield f"warnings: {said}"
    files = xarray.open_mfdataset(FILES, combine="nested", concat_dim="time").load()
    for name in expected:
        if opened[name].dtype != files[name].dtype or not np.array_equal(opened[name], files[name], equal_nan=True):
            yield f"`{name}`: decoded values differ"


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    failed = 0
    with tempfile.TemporaryDirectory(prefix="gristmill-moved-") as scratch:
        for number, (name, output) in enumerate(OUTPUTS.items()):
            # With one chunk length for all, `field` cannot be moved.
            expected = MOVED if "chunks" not in output else MOVED | {"field": [0] * len(FILES)}
            found = list(problems(binary, output, pathlib.Path(scratch) / str(number), expected))
            failed += bool(found)
            print("FAIL" if found else "ok  ", name, *found, sep="\n        " if found else " ")
    print(f"{len(OUTPUTS) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


main()
