"""What the result must be, computed from the source files with netCDF4 alone, by the rules of docs/architecture.md ("Right data").

Nothing here reads a store, and nothing here is shared with Gristmill.
"""
import dataclasses
import re

import cftime
import netCDF4
import numpy as np

CONTRACT = {"units", "standard_name", "positive", "cell_methods", "grid_mapping"}
CONTRACT_PREFIXES = ("flag_", "valid_")
CALENDARS = {"gregorian": "standard", "noleap": "365_day", "all_leap": "366_day", None: "standard"}


@dataclasses.dataclass
class Expected:
    """One variable of the result."""

    name: str
    dims: tuple
    values: np.ndarray          # raw, as stored; texts as str objects; dates where `dates`
    attributes: dict
    conflicting: set            # attributes that differ between files: must be gone
    dates: bool = False         # time whose epoch differs between files: compared as dates, stored as int64
    retimed_units: str = ""     # first file's units, whose epoch the result must keep


def is_contract(name):
    return name in CONTRACT or name.startswith(CONTRACT_PREFIXES)


def same(left, right):
    """Equality of attribute values: numbers by value (a float32 equals its float64), texts exactly."""
    if isinstance(left, (str, bytes)) or isinstance(right, (str, bytes)):
        return left == right
    left, right = np.atleast_1d(np.asarray(left)), np.atleast_1d(np.asarray(right))
    if left.dtype.kind in "US" or right.dtype.kind in "US" or left.dtype == object or right.dtype == object:
        return left.tolist() == right.tolist()
    return left.shape == right.shape and bool(np.array_equal(left.astype("f8"), right.astype("f8"), equal_nan=True))


def read(path):
    """{variable: (dims, raw values, attributes)} and the file's attributes."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        file.set_auto_chartostring(False)
        variables = {}
        for name, variable in file.variables.items():
            attributes = {key: variable.getncattr(key) for key in variable.ncattrs()}
            variables[name] = (variable.dimensions, np.asarray(variable[...]), attributes)
        return variables, {key: file.getncattr(key) for key in file.ncattrs()}


def text(dims, values):
    """Character arrays lose their last dimension and become texts."""
    if values.dtype.kind != "S" or not dims:
        return dims, values
    joined = np.asarray(netCDF4.chartostring(values, encoding="bytes"))
    strings = np.array([item.rstrip(b"\0").decode() for item in joined.reshape(-1)], dtype=object)
    return dims[:-1], strings.reshape(joined.shape)


def time_bounds(variables):
    """{bounds variable: its time variable}: bounds inherit units and calendar (CF 7.1)."""
    return {attributes["bounds"]: name for name, (_, _, attributes) in variables.items()
            if attributes.get("bounds") in variables and " since " in str(attributes.get("units", ""))}


def since(variables, name):
    """(units, calendar) if the variable counts from an epoch."""
    attributes = variables[name][2]
    if "units" not in attributes:
        attributes = variables[time_bounds(variables).get(name, name)][2]
    units = str(attributes.get("units", ""))
    calendar = attributes.get("calendar")
    return (units, CALENDARS.get(calendar, calendar)) if " since " in units else None


def missing_marks(values, attributes):
    marks = [np.atleast_1d(attributes[key]) for key in ("_FillValue", "missing_value") if key in attributes]
    marks = np.concatenate(marks) if marks else np.array([])
    if values.dtype.kind in "iu":
        marks = [mark for mark in marks if np.isfinite(mark) and values.dtype.type(mark) == mark]
    return np.isin(values, np.asarray(marks, dtype=values.dtype)) if len(marks) else np.zeros(values.shape, bool)


def unpack(values, attributes):
    out = values.astype("f8") * float(attributes.get("scale_factor", 1)) + float(attributes.get("add_offset", 0))
    return np.where(missing_marks(values, attributes), np.nan, out)


def concat(name, files, dim):
    """One variable over the files that follow one another (a single file: itself)."""
    pieces = [variables[name] for variables in files]
    dims = pieces[0][0]
    if dim is None or dim not in dims:
        pieces, files = pieces[:1], files[:1]
    attributes = {key: value for key, value in pieces[0][2].items()
                  if all(key in piece[2] and same(piece[2][key], value) for piece in pieces)}
    conflicting = {key for piece in pieces for key in piece[2]} - set(attributes)
    axis = dims.index(dim) if dim in dims else 0
    expected = Expected(name, dims, None, attributes, conflicting)
    epochs = [since(variables, name) for variables in files]
    if epochs[0] and len({units for units, _ in epochs}) > 1:
        arrays = [cftime.num2date(piece[1], *epoch, only_use_cftime_datetimes=True) for piece, epoch in zip(pieces, epochs)]
        expected.dates, expected.retimed_units = True, epochs[0][0]
        expected.conflicting.discard("units")
    elif {"scale_factor", "add_offset"} & conflicting:
        arrays = [unpack(piece[1], piece[2]) for piece in pieces]
        for key in ("scale_factor", "add_offset", "_FillValue", "missing_value"):
            expected.attributes.pop(key, None)
    else:
        arrays = [piece[1] for piece in pieces]
    values = np.concatenate(arrays, axis=axis) if len(arrays) > 1 else np.asarray(arrays[0])
    expected.dims, expected.values = text(dims, values)
    if values.dtype.kind == "f":
        expected.values = np.where(missing_marks(values, pieces[0][2]), np.nan, values).astype(values.dtype)
        expected.attributes = {key: value for key, value in expected.attributes.items() if key not in ("_FillValue", "missing_value")}
    elif values.dtype.kind in "iu" and "_FillValue" in expected.attributes and not np.isfinite(float(expected.attributes["_FillValue"])):
        del expected.attributes["_FillValue"]
    return expected


def expect(groups, dim, rename=None, drop=()):
    """(variables, attributes of the whole, conflicting ones) of groups of files: concatenated within, merged between."""
    rename = rename or {}
    result, globals_ = {}, []
    for paths in groups:
        files, whole = zip(*(read(path) for path in paths))
        globals_ += whole
        for name in files[0]:
            if name in drop:
                continue
            expected = concat(name, files, dim)
            expected.dims = tuple(rename.get(dimension, dimension) for dimension in expected.dims)
            result.setdefault(rename.get(name, name), expected)
    shared = {key: value for key, value in globals_[0].items() if all(key in other and same(other[key], value) for other in globals_)}
    newest = newest_conventions([whole["Conventions"] for whole in globals_ if "Conventions" in whole])
    if newest:
        shared["Conventions"] = newest
    return result, shared, {key for whole in globals_ for key in whole} - set(shared)


def newest_conventions(values):
    """What follows an older version of CF follows a newer one too; None if any value says more than a version of CF."""
    versions = [re.fullmatch(r"CF-(\d+)\.(\d+)", str(value).strip()) for value in values]
    return max(versions, key=lambda one: tuple(map(int, one.groups()))).string if versions and all(versions) else None
