#!/usr/bin/env python3
"""Proves that compare.py passes a right store and fails on each kind of wrong one. The stores are written by xarray, not by Gristmill."""
import json
import pathlib
import shutil
import sys
import tempfile
import warnings

import netCDF4
import numpy as np
import xarray as xr
import zarr

import compare
import reference

SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="gristmill-selftest-"))
CASE = {"concat": "time", "data": ["t", "p", "flag"], "chunks": {"time": 4, "x": 2}, "zarr_format": 3, "decode": True}
BLOSC = zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=None)


def source(path, number, epoch="2000-01-01", scale=0.5):
    with netCDF4.Dataset(path, "w", format="NETCDF4_CLASSIC") as file:
        file.createDimension("time", None)
        file.createDimension("x", 3)
        file.createDimension("letters", 4)
        file.setncatts({"source": "a model", "tracking": f"file {number}"})
        time = file.createVariable("time", "f8", ("time",))
        time.setncatts({"units": f"days since {epoch}", "calendar": "standard", "standard_name": "time"})
        time[:] = np.arange(3) + 3.0 * number
        file.createVariable("x", "i4", ("x",))[:] = [1, 2, 3]
        t = file.createVariable("t", "f4", ("time", "x"), fill_value=1e20)
        t.setncatts({"units": "K", "missing_value": np.float32(1e20)})
        t[:] = np.arange(9).reshape(3, 3) + number
        t[1, 1] = 1e20
        p = file.createVariable("p", "i2", ("time", "x"), fill_value=-999)
        p.set_auto_maskandscale(False)
        p.setncatts({"scale_factor": scale, "add_offset": 10.0, "units": "Pa"})
        p[:] = np.arange(9).reshape(3, 3) + 10 * number
        flag = file.createVariable("flag", "i1", ("time", "x"))
        flag.setncatts({"flag_values": np.array([0, 1], "i1"), "flag_meanings": "bad good"})
        flag[:] = 1
        file.createVariable("name", "S1", ("letters",))[:] = np.array(list("ice\0"), "S1")


def write(path, files, change=None, encode=None, zarr_format=3, attributes=True):
    """What a right run writes, by xarray, from the reference's values; `change` spoils it."""
    expected, shared, _ = reference.expect([files], "time")
    dataset, encoding = xr.Dataset(attrs=dict(shared)), {}
    for name, one in expected.items():
        attrs = {key: compare.plain(value) for key, value in one.attributes.items() if key != "_FillValue"}
        values = np.asarray(one.values, dtype=np.dtypes.StringDType()) if one.values.dtype == object else one.values
        if one.dates:
            values, attrs["units"] = np.arange(len(values)).astype("i8"), one.retimed_units
        dataset[name] = (one.dims, values.astype(object) if one.values.dtype == object else values, attrs)
        if name in ("t", "p", "flag"):
            codec = BLOSC if zarr_format == 3 else __import__("numcodecs").Blosc("zstd", 3, 1)
            encoding[name] = {"chunks": (4, 2), "compressors": [codec]}
        if "_FillValue" in one.attributes:
            dataset[name].attrs["_FillValue"] = one.attributes["_FillValue"].item()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dataset.set_coords([name for name in ("time", "x") if name in dataset])
        for name in dataset.variables:
            if dataset[name].dtype.kind == "f":
                encoding.setdefault(name, {})["_FillValue"] = np.nan
        for name in list(dataset.variables):
            fill = dataset[name].attrs.pop("_FillValue", None)
            if fill is not None:
                encoding.setdefault(name, {})["_FillValue"] = fill
        if change:
            dataset = change(dataset) or dataset
        if encode:
            encode(encoding)
        encoding = {name: one for name, one in encoding.items() if name in dataset.variables}
        dataset.to_zarr(path, mode="w", zarr_format=zarr_format, consolidated=True, encoding=encoding,
                        write_empty_chunks=True)


def edit(path, key, change):
    file = pathlib.Path(path) / key
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def spoil(name):
    def change(dataset):
        if name == "value":
            dataset["t"].values[4, 2] += 1
        elif name == "missing":
            dataset["t"].values[1, 1] = 1e20
        elif name == "packed":
            dataset["p"].values[0, 0] += 1
        elif name == "dtype":
            return dataset.assign(t=dataset["t"].astype("f8"))
        elif name == "lacks":
            return dataset.drop_vars("flag")
        elif name == "extra":
            dataset["more"] = ("x", [1, 2, 3])
        elif name == "dims":
            return dataset.assign(t=dataset["t"].transpose("x", "time").drop_attrs().assign_attrs(dataset["t"].attrs))
        elif name == "units":
            dataset["p"].attrs["units"] = "hPa"
        elif name == "flags":
            del dataset["flag"].attrs["flag_meanings"]
        elif name == "false attribute":
            dataset.attrs["tracking"] = "file 0"
        elif name == "text":
            return dataset.assign(name=((), np.array("snow", dtype=object)))
        elif name == "calendar":
            dataset["time"].attrs["calendar"] = "noleap"
        elif name == "time":
            dataset["time"] = dataset["time"].copy(data=dataset["time"].values + 1).assign_attrs(dataset["time"].attrs)
        return None
    return change


def main():
    same = [SCRATCH / f"same{n}.nc" for n in range(2)]
    epochs = [SCRATCH / f"epochs{n}.nc" for n in range(2)]
    repacked = [SCRATCH / f"repacked{n}.nc" for n in range(2)]
    for number in range(2):
        source(same[number], number)
        source(epochs[number], 0, epoch=f"2000-01-0{1 + 3 * number}")
        source(repacked[number], number, scale=0.5 + number)
    results = []

    def check(title, files, wanted, store_change=None, case=None, **options):
        """`wanted`: None for a store that must pass, else words that one of the problems must hold."""
        store = str(SCRATCH / f"{len(results)}.zarr")
        write(store, [str(path) for path in files], **options)
        if store_change:
            store_change(store)
        problems = compare.compare(CASE | {"groups": [[str(path) for path in files]]} | (case or {}), store)
        right = not problems if wanted is None else any(wanted in problem for problem in problems)
        results.append(right)
        print(f"{'ok  ' if right else 'FAIL'} {title}" + ("" if right else f": wanted {wanted!r}, got {problems}"))

    check("a right store", same, None)
    check("a right store, zarr 2", same, None, case={"zarr_format": 2}, zarr_format=2)
    check("a right store of differing epochs", epochs, None)
    check("a right store of differing packing", repacked, None)
    for name, wanted in {
        "value": "t (raw): 1 of", "missing": "t (raw)", "packed": "p (raw)", "dtype": "stored as float64", "lacks": "only in the sources ['flag']",
        "extra": "only in the store ['more']", "dims": "dimensions", "units": "contract attribute `units`", "flags": "`flag_meanings` is missing",
        "false attribute": "not true of the whole", "text": "texts", "calendar": "`calendar`", "time": "time (raw)",
    }.items():
        check(f"wrong: {name}", same, wanted, change=spoil(name))
    check("wrong: a date", epochs, "times differ", change=spoil("time"))
    check("wrong: chunks", same, "chunks (4, 2)", case={"chunks": {"time": 5, "x": 2}})
    check("wrong: not sharded", same, "not sharded", case={"shards": {"time": 8}})
    check("wrong: codec", same, "blosc", encode=lambda encoding: encoding["t"].update(compressors=[zarr.codecs.ZstdCodec(level=3)]))
    check("wrong: format", same, "zarr format is 3", case={"zarr_format": 2})
    check("wrong: a chunk is absent", same, "objects absent", lambda store: (pathlib.Path(store) / "t/c/0/0").unlink())
    check("wrong: a foreign object", same, "no metadata addresses", lambda store: (pathlib.Path(store) / "notes.txt").write_text("?"))
    check("wrong: consolidated copy", same, "consolidated copies differ", lambda store: edit(store, "t/zarr.json", lambda node: node["attributes"].update(units="degC")))
    check("wrong: no consolidated metadata", same, "no consolidated metadata", lambda store: edit(store, "zarr.json", lambda node: node.pop("consolidated_metadata")))
    check("wrong: a warning on opening", same, "warnings", lambda store: edit(store, "zarr.json", lambda node: node.pop("consolidated_metadata")))
    shutil.rmtree(SCRATCH)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
