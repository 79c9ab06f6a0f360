"""Opens stores that Gristmill wrote with xarray and zarr-python, warnings as errors, and compares every value.

    zarr_target.py STORE MANIFEST

MANIFEST is JSON: `variables`, a list of {name, dtype, shape, values (base64 of little-endian bytes, or texts), fill (number, text or
null), coordinate, chunks, shards, attributes}; exits 1 at the first difference and names it. Fails on any variable not compared.
"""
import base64
import json
import sys
import warnings

import numpy as np
import xarray as xr
import zarr

warnings.simplefilter("error")


def expected_values(entry):
    shape = tuple(entry["shape"])
    if entry["dtype"] == "string":
        return np.array(entry["values"], dtype=object).reshape(shape)
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(entry["values"]), dtype=dtype).reshape(shape)


def same(left, right):
    if left.dtype.kind in "OTU":
        return left.shape == right.shape and all(a == b for a, b in zip(left.ravel(), right.ravel(), strict=True))
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def check(condition, message):
    if not condition:
        sys.exit(f"FAIL {message}")


def decoded(values, entry):
    """What xarray makes of it: packed and missing values as the netCDF original would decode."""
    attributes = {k: v for k, v in entry["attributes"].items() if k in ("scale_factor", "add_offset", "units", "calendar")}
    if entry["fill"] is not None and values.dtype.kind != "O":
        attributes["_FillValue"] = values.dtype.type(float(entry["fill"]) if values.dtype.kind == "f" else entry["fill"])
    dims = [f"d{n}" for n in range(values.ndim)]
    return xr.conventions.decode_cf_variable("v", xr.Variable(dims, values, attributes)).values


def compare_group(store, group, entries):
    raw = xr.open_zarr(store, group=group or None, mask_and_scale=False, decode_times=False, chunks=None)
    cooked = xr.open_zarr(store, group=group or None, chunks=None)
    plain = zarr.open_group(store, path=group, mode="r")
    leaves = {entry["name"].rpartition("/")[2]: entry for entry in entries}
    check(set(raw.variables) == set(leaves), f"{group}: variables {sorted(set(raw.variables) ^ set(leaves))} differ")
    for leaf, entry in leaves.items():
        where = entry["name"]
        values = expected_values(entry)
        check(same(raw[leaf].values, values), f"{where}: raw values differ")
        check(same(np.asarray(plain[leaf][...]), values), f"{where}: zarr-python's values differ")
        check(tuple(raw[leaf].dims) == tuple(entry["dimensions"]), f"{where}: dimensions {raw[leaf].dims}")
        want, got = decoded(values, entry), cooked[leaf].values
        check(want.dtype == got.dtype or want.dtype.kind == "O", f"{where}: decoded as {got.dtype}, not {want.dtype}")
        check(want.dtype.kind == "O" or np.array_equal(want, got, equal_nan=want.dtype.kind == "f"), f"{where}: decoded values differ")
        if entry["dtype"] == "string" and not entry["fill"]:
            check(same(got, values), f"{where}: decoded texts {got.ravel().tolist()} differ")
        check((leaf in cooked.coords) == entry["coordinate"], f"{where}: coordinate is {leaf in cooked.coords}")
        check(list(plain[leaf].chunks) == entry["chunks"], f"{where}: chunks {plain[leaf].chunks}")
        check((list(plain[leaf].shards) if plain[leaf].shards else None) == entry["shards"], f"{where}: shards {plain[leaf].shards}")
        for name, value in entry["attributes"].items():
            got = {**cooked[leaf].attrs, **cooked[leaf].encoding}.get(name)
            got = got if name not in raw[leaf].attrs else raw[leaf].attrs[name]
            check(type(got) is type(value) and got == value, f"{where}: attribute {name} is {got!r}, not {value!r}")
    return len(leaves)


def main():
    store, manifest = sys.argv[1:]
    with open(manifest, encoding="utf-8") as file:
        entries = json.load(file)["variables"]
    groups = {}
    for entry in entries:
        groups.setdefault(entry["name"].rpartition("/")[0], []).append(entry)
    compared = sum(compare_group(store, group, members) for group, members in groups.items())
    check(compared == len(entries), f"{compared} of {len(entries)} variables compared")
    print(f"{compared} variables equal")


if __name__ == "__main__":
    main()
