#!/usr/bin/env python3
"""Opens a Zarr store with zarr-python and xarray and compares it with what the source files say.

    compare.py CASE.yaml STORE       CASE as tests/oracle/run.py writes it; STORE a path or s3:// URL (AWS_ENDPOINT_URL for its server)

Raw values, decoded values, types, dimensions, chunks, shards, codecs, objects, attributes, coordinates and warnings; every
variable of the store and of the sources must have been compared. Prints each difference; exit 1 if there is one.
"""
import base64
import itertools
import json
import math
import os
import sys
import warnings

import cftime
import fsspec
import numpy as np
import xarray as xr
import yaml
import zarr

import reference

# What a recipe may say about the whole in place of what the files say.
OF_THE_RECIPE = {"title", "license", "description", "summary", "doi", "citation", "references", "keywords", "id", "providers", "creator_name",
                 "institution", "maintainers"}
SOURCES = {}  # the last case's sources: the next run is mostly of the same case
EXPECTED = {}  # likewise what the reference computed of it; nobody changes it
TIMES = {}     # and how far the times of a store were off that had the same bytes
OURS = {"_FillValue", "coordinates", "_ARRAY_DIMENSIONS"}


def expected(*case):
    """What the reference says, remembered for the next run of the same case."""
    key = json.dumps(case)
    if key not in EXPECTED:
        EXPECTED.clear()
        TIMES.clear()
        EXPECTED[key] = reference.expect(*case)
    return EXPECTED[key]


class Comparison:
    """One store against one case; `problems` is what differs."""

    def __init__(self, case, store):
        self.case, self.store, self.problems, self.compared = case, store, [], set()
        self.dim = case.get("concat")
        self.expected, self.globals, self.conflicting = expected(
            case["groups"], case.get("concat_in_files", self.dim), case.get("rename"), case.get("drop", ()))
        self.filesystem, self.root = fsspec.core.url_to_fs(store, **storage_options(store))

    def check(self, holds, message):
        if not holds:
            self.problems.append(message)
        return holds

    def run(self):
        options = {"storage_options": storage_options(self.store)} if storage_options(self.store) else {}
        group = zarr.open_group(self.store, mode="r", **options)
        self.check(group.metadata.zarr_format == self.case["zarr_format"], f"zarr format is {group.metadata.zarr_format}")
        arrays = dict(group.arrays())
        self.check(set(arrays) == set(self.expected),
                   f"variables: only in the store {sorted(set(arrays) - set(self.expected))}, only in the sources {sorted(set(self.expected) - set(arrays))}")
        for name in sorted(set(arrays) & set(self.expected)):
            self.guarded(self.variable, name, arrays[name], self.expected[name])
        self.guarded(self.whole, group)
        self.guarded(self.objects, arrays)
        self.guarded(self.consolidated, arrays)
        self.guarded(self.decoded, options)
        left = set(arrays) - self.compared
        self.check(not left, f"never compared: {sorted(left)}")
        return self.problems

    def guarded(self, step, *arguments):
        """A comparison that breaks is a difference, and the others still run."""
        try:
            step(*arguments)
        except Exception as error:
            where = error.__traceback__.tb_next.tb_lineno if error.__traceback__.tb_next else 0
            self.problems.append(f"{step.__name__} {[one for one in arguments if isinstance(one, str)]}: {type(error).__name__}: {error} (line {where})")

    def variable(self, name, array, expected):
        dims = array.metadata.dimension_names if array.metadata.zarr_format == 3 else tuple(array.attrs.get("_ARRAY_DIMENSIONS", ()))
        self.check(tuple(dims or ()) == expected.dims, f"{name}: dimensions {dims}, expected {expected.dims}")
        if not self.check(array.shape == expected.values.shape, f"{name}: shape {array.shape}, expected {expected.values.shape}"):
            return
        self.values(name, array, expected)
        self.attributes(name, array, expected)
        self.layout(name, array, expected)
        self.compared.add(name)

    def values(self, name, array, expected):
        stored = np.asarray(array[...])
        if expected.dates:
            self.dates(name, array, stored, expected)
        elif expected.values.dtype == object:
            texts = [str(item) for item in stored.reshape(-1)]
            self.check(texts == expected.values.reshape(-1).tolist(), f"{name}: texts {texts[:3]}, expected {expected.values.reshape(-1)[:3]}")
        else:
            self.check(stored.dtype == expected.values.dtype, f"{name}: stored as {stored.dtype}, expected {expected.values.dtype}")
            self.equal(f"{name} (raw)", stored, expected.values)

    def equal(self, what, got, want, tolerance=0.0):
        wrong = ~np.isclose(got, want, rtol=tolerance, atol=0, equal_nan=True) if tolerance else ~(
            (got == want) | ((got != got) & (want != want)))
        wrong = np.atleast_1d(wrong)
        where = np.argwhere(wrong)
        if len(where):
            at = tuple(where[0])
            self.problems.append(f"{what}: {len(where)} of {wrong.size} values differ, first at {[int(i) for i in at]}: "
                                 f"{np.atleast_1d(got)[at]!r}, expected {np.atleast_1d(want)[at]!r}")

    def dates(self, name, array, stored, expected):
        self.check(stored.dtype == np.int64, f"{name}: times of differing epochs stored as {stored.dtype}, expected int64")
        units = array.attrs.get("units") or self.time_units(name)
        epoch = lambda text: cftime.num2date(0, "seconds since " + text.split(" since ", 1)[1])  # noqa: E731
        if not self.check(units is not None and " since " in units, f"{name}: units {units!r}"):
            return
        self.check(epoch(units) == epoch(expected.retimed_units), f"{name}: epoch of {units!r} is not the first file's ({expected.retimed_units!r})")
        off = self.remembered_off(stored, units, array.attrs.get("calendar", self.time_calendar(name)), expected)
        self.check(max(off) < 1e-5, f"{name}: {sum(second >= 1e-5 for second in off)} of {len(off)} times differ, by up to {max(off)} s")
        unit = units.split(" since ")[0].rstrip("s")
        if self.parent(name):  # bounds have the unit of their time (CF 7.1)
            return
        coarser = {"second": 60, "minute": 60, "hour": 24}.get(unit)
        self.check(coarser is None or np.any(stored % coarser != 0), f"{name}: {units!r} is not the coarsest exact unit")

    def remembered_off(self, stored, units, calendar, expected):
        """By how many seconds each time is off; equal bytes of equal units of one case are decoded once."""
        key = (id(expected), units, calendar, stored.tobytes())
        if key not in TIMES:
            dates = cftime.num2date(stored, units, calendar, only_use_cftime_datetimes=True)
            TIMES[key] = seconds_off(dates, expected.values)
        return TIMES[key]

    def parent(self, name):
        return next((other for other in self.expected.values() if other.attributes.get("bounds") == name), None)

    def time_units(self, name):
        parent = self.parent(name)
        return zarr_attributes(self, parent.name).get("units") if parent else None

    def time_calendar(self, name):
        parent = self.parent(name)
        return (zarr_attributes(self, parent.name) if parent else {}).get("calendar", "standard")

    def attributes(self, name, array, expected):
        stored = {key: value for key, value in array.attrs.items() if key != "_ARRAY_DIMENSIONS"}
        packed_anew = "scale_factor" in expected.conflicting or "add_offset" in expected.conflicting
        for key, value in expected.attributes.items():
            if key in ("coordinates",) or (expected.dates and key in ("units", "calendar")):
                continue
            if key == "_FillValue" and array.metadata.zarr_format == 2:
                self.check(reference.same(array.fill_value, value), f"{name}: v2 fill_value {array.fill_value!r}, expected {value!r}")
                continue
            kind = "contract attribute" if reference.is_contract(key) else "attribute"
            if not self.check(key in stored, f"{name}: {kind} `{key}` is missing (expected {value!r})"):
                continue
            equal = reference.same(stored[key], plain(value))
            if key == "calendar":
                equal = reference.CALENDARS.get(stored[key], stored[key]) == reference.CALENDARS.get(value, value)
            self.check(equal, f"{name}: {kind} `{key}` is {stored[key]!r}, expected {plain(value)!r}")
        extra = set(stored) - set(expected.attributes) - OURS - ({"calendar", "units"} if self.counts_time(name) else set())
        self.check(not extra, f"{name}: attributes that no source explains: {sorted(extra)}")
        if expected.values.dtype.kind == "f" and "_FillValue" in stored:
            self.check(is_nan(stored["_FillValue"]), f"{name}: float `_FillValue` {stored['_FillValue']!r} is not NaN")
        if expected.values.dtype.kind == "f" and not expected.dates:
            self.check(packed_anew or array.fill_value is None or np.isnan(array.fill_value), f"{name}: fill_value {array.fill_value!r} of floats is not NaN")

    def counts_time(self, name):
        own = self.expected[name]
        parent = self.parent(name)
        return own.dates or any(" since " in str(one.attributes.get("units", "")) or one.dates for one in (own, parent) if one)

    def layout(self, name, array, expected):
        chunks = self.case["chunks"]
        want = tuple(chunks.get(dim, length) if dim == self.dim else min(chunks.get(dim, length), length)
                     for dim, length in zip(expected.dims, array.shape))
        if name in self.case["data"]:
            self.check(tuple(array.chunks) == want, f"{name}: chunks {array.chunks}, expected {want}")
            self.shards(name, array, expected)
            self.codecs(name, array)
        else:
            item = array.dtype.itemsize or 1
            count = math.prod(math.ceil(length / chunk) for length, chunk in zip(array.shape, array.chunks))
            self.check(count <= 4 or math.prod(array.chunks) * item >= 1 << 20 or tuple(array.chunks) == want,
                       f"{name}: {count} chunks of {array.chunks} for a coordinate")

    def shards(self, name, array, expected):
        wanted = self.case.get("shards")
        shards = getattr(array, "shards", None)
        if not wanted:
            self.check(shards is None, f"{name}: sharded {shards}, not asked for")
            return
        if self.check(shards is not None, f"{name}: not sharded"):
            for dim, shard, chunk in zip(expected.dims, shards, array.chunks):
                self.check(shard % chunk == 0, f"{name}: shard {shards} is no multiple of chunk {array.chunks}")
                self.check(dim not in wanted or shard == wanted[dim], f"{name}: shard of {dim} is {shard}, expected {wanted.get(dim)}")

    def codecs(self, name, array):
        if array.metadata.zarr_format == 2:
            found = array.metadata.compressor.get_config() if array.metadata.compressor else None
            want = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1}
            self.check(found and all(found.get(key) == value for key, value in want.items()), f"{name}: compressor {found}, expected {want}")
            return
        codecs = [codec.to_dict() for codec in array.metadata.codecs]
        if codecs and codecs[0]["name"] == "sharding_indexed":
            codecs = [codec if isinstance(codec, dict) else codec.to_dict() for codec in codecs[0]["configuration"]["codecs"]]
        names = [codec["name"] for codec in codecs]
        if self.check(names == ["bytes", "blosc"], f"{name}: codecs {names}, expected bytes and blosc"):
            configuration = codecs[1]["configuration"]
            want = {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "typesize": array.dtype.itemsize}
            found = {key: getattr(configuration[key], "value", configuration[key]) for key in want}
            self.check(found == want, f"{name}: blosc {found}, expected {want}")

    def whole(self, group):
        stored = dict(group.attrs)
        for key, value in self.globals.items():
            if key not in OF_THE_RECIPE:
                self.check(key in stored and reference.same(stored[key], plain(value)), f"attribute `{key}` of the whole is {stored.get(key)!r}, expected {plain(value)!r}")
        false = (self.conflicting & set(stored)) - OF_THE_RECIPE
        self.check(not false, f"attributes of one file that are not true of the whole: {sorted(false)}")

    def objects(self, arrays):
        """No object that the metadata cannot address, and none absent."""
        base = self.root.rstrip("/") + "/"
        keys = {key[len(base):] for key in self.filesystem.find(self.root)}
        metadata = {"zarr.json"} if self.case["zarr_format"] == 3 else {".zgroup", ".zattrs", ".zmetadata"}
        wanted = set()
        for name, array in arrays.items():
            metadata |= {f"{name}/{file}" for file in (["zarr.json"] if self.case["zarr_format"] == 3 else [".zarray", ".zattrs"])}
            written = getattr(array, "shards", None) or array.chunks
            grid = [range(math.ceil(length / size)) for length, size in zip(array.shape, written)]
            wanted |= {f"{name}/{array.metadata.encode_chunk_key(cell)}" for cell in itertools.product(*grid)}
        self.check(not wanted - keys, f"{len(wanted - keys)} objects absent, such as {sorted(wanted - keys)[:2]}")
        foreign = keys - wanted - metadata
        self.check(not foreign, f"{len(foreign)} objects that no metadata addresses, such as {sorted(foreign)[:2]}")

    def consolidated(self, arrays):
        read = lambda key: json.loads(self.filesystem.cat_file(f"{self.root.rstrip('/')}/{key}"))  # noqa: E731
        try:
            if self.case["zarr_format"] == 3:
                copies = read("zarr.json")["consolidated_metadata"]["metadata"]
                wrong = [name for name in arrays if copies.get(name) != read(f"{name}/zarr.json")]
            else:
                copies = read(".zmetadata")["metadata"]
                wrong = [key for key, copy in copies.items() if copy != read(key)]
                wrong += [name for name in arrays if f"{name}/.zarray" not in copies]
        except (KeyError, TypeError, FileNotFoundError) as error:
            self.problems.append(f"no consolidated metadata: {error!r}")
            return
        self.check(not wrong, f"consolidated copies differ from the nodes' own: {wrong}")

    def decoded(self, options):
        decode = self.case.get("decode", True)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            result = xr.open_zarr(self.store, decode_times=coder(decode), chunks=None, **options)
            for name in result.variables:
                result[name].load()
        sources, known = self.sources(decode)
        new = {warning_key(one) for one in seen} - known
        self.check(not new, f"warnings that the sources do not give: {sorted(new)}")
        if decode:
            with warnings.catch_warnings(record=True) as plainly:
                warnings.simplefilter("always")
                xr.open_zarr(self.store, **options).close()
            new = {warning_key(one) for one in plainly} - known
            self.check(not new, f"warnings of a plain xr.open_zarr that the sources do not give: {sorted(new)}")
        rename = self.case.get("rename") or {}
        wanted = {rename.get(name, name) for source in sources for name in source.coords} | set(self.case.get("coords", ()))
        wanted &= set(result.variables)
        self.check(wanted <= set(result.coords), f"not coordinates for xarray: {sorted(wanted - set(result.coords))}")
        for name in result.variables:
            self.guarded(self.decoded_variable, str(name), result, sources, {new: old for old, new in rename.items()})

    def sources(self, decode):
        """Every source file, opened by xarray, and the warnings it gave; files of a group are joined per variable later."""
        key = json.dumps([self.case["groups"], decode])
        if key not in SOURCES:
            SOURCES.clear()
            SOURCES[key] = self.open_sources(decode)
        self.opened, known = SOURCES[key]
        return [one for group in self.opened for one in group], known

    def open_sources(self, decode):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            opened = [[xr.open_dataset(path, decode_times=coder(decode), engine="netcdf4").load() for path in group] for group in self.case["groups"]]
            if decode:
                for group in self.case["groups"]:
                    for path in group:
                        xr.open_dataset(path, engine="netcdf4").close()
        return opened, {warning_key(one) for one in seen}

    def decoded_variable(self, name, result, sources, old):
        source_name = old.get(name, name)
        group = next((group for group in self.opened if source_name in group[0].variables), None)
        if not self.check(group is not None, f"{name}: in no source that xarray opens"):
            return
        pieces = [one[source_name] for one in group]
        dim = self.case.get("concat_in_files", self.dim)
        values = np.concatenate([piece.values for piece in pieces], axis=pieces[0].dims.index(dim)) if dim in pieces[0].dims else pieces[0].values
        got = result[name].values
        if not self.check(got.shape == values.shape, f"{name}: decoded shape {got.shape}, expected {values.shape}"):
            return
        if values.dtype.kind in "SUOT":
            if values.size and isinstance(values.reshape(-1)[0], cftime.datetime):
                off = seconds_off(got, values)
                self.check(max(off) < 1e-5, f"{name}: decoded times differ by up to {max(off)} s")
                return
            texts = lambda array: [item.decode() if isinstance(item, bytes) else str(item) for item in array.reshape(-1)]  # noqa: E731
            self.check(texts(np.asarray(got, object)) == texts(np.asarray(values, object)), f"{name}: decoded texts differ")
            return
        # xarray picks float32 or float64 for packed values by the *type* of scale_factor, which JSON does not keep.
        packed = "scale_factor" in pieces[0].encoding or "add_offset" in pieces[0].encoding
        exact = got.dtype == values.dtype and not packed
        self.equal(f"{name} (decoded)", got, values, 0.0 if exact else 3e-7)


def seconds_off(got, want):
    """By how many seconds each date is off; one zero if all are equal."""
    if np.array_equal(got, want):
        return [0.0]
    return [abs((one - other).total_seconds()) for one, other in zip(got.reshape(-1), want.reshape(-1))]


def storage_options(store):
    if not store.startswith("s3://"):
        return {}
    return {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "client_kwargs": {"region_name": os.environ.get("AWS_REGION", "us-east-1")}}


def zarr_attributes(comparison, name):
    options = {"storage_options": storage_options(comparison.store)} if storage_options(comparison.store) else {}
    return dict(zarr.open_group(comparison.store, mode="r", **options)[name].attrs)


def plain(value):
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def is_nan(value):
    if isinstance(value, str):
        try:
            return bool(np.isnan(np.frombuffer(base64.b64decode(value), "<f8")[0]))
        except (ValueError, IndexError):
            return value == "NaN"
    return bool(np.isnan(value))


def coder(decode):
    return xr.coders.CFDatetimeCoder(use_cftime=True) if decode else False


def warning_key(warning):
    """Category and the message's first words: names of files and variables differ."""
    return f"{warning.category.__name__}: {str(warning.message)[:60]}"


def compare(case, store):
    """Everything that differs, as texts."""
    return Comparison(case, store).run()


def main():
    with open(sys.argv[1]) as file:
        case = yaml.safe_load(file)
    problems = compare(case, sys.argv[2])
    print("\n".join(problems) or "equal")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
