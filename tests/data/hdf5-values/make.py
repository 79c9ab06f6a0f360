"""Makes the files beside it: HDF5 whose numbers do not fill their bytes, whose texts are Latin-1, and whose chunks were never written,
with the values that netCDF-C and h5py read back from them. Synthetic values. Needs h5py and netCDF4."""

import json
from pathlib import Path

import h5py
import netCDF4
import numpy as np

HERE = Path(__file__).parent
NUMBERS = np.array([-1, 5, -2000, 7], "i2")
NBIT = 5


def dataset(file, name, kind, values, nbit=False):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if nbit:
        properties.set_chunk(values.shape)
        properties.set_filter(NBIT, 0, ())
    created = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(values.shape), properties)
    created.write(h5py.h5s.ALL, h5py.h5s.ALL, values)


def integer(precision, offset=0):
    kind = h5py.h5t.STD_I16LE.copy()
    kind.set_precision(precision)
    kind.set_offset(offset)
    return kind


def bits():
    with h5py.File(HERE / "bits.h5", "w", libver=("v110", "v110")) as file:
        dataset(file, "whole", integer(16), NUMBERS)
        dataset(file, "whole_nbit", integer(16), NUMBERS, nbit=True)
        dataset(file, "narrow", integer(12), NUMBERS)
        dataset(file, "shifted", integer(12, 4), NUMBERS)
        dataset(file, "narrow_nbit", integer(12), NUMBERS, nbit=True)
        committed = integer(12)
        committed.commit(file.id, b"twelve")
        dataset(file, "committed", committed, NUMBERS)
        biased = h5py.h5t.IEEE_F32LE.copy()
        biased.set_ebias(120)
        dataset(file, "biased", biased, np.array([1, 0.5], "f4"))


def texts():
    with h5py.File(HERE / "texts.h5", "w", libver=("v110", "v110")) as file:
        file.create_dataset("fixed", data=np.array([b"caf\xe9", b"caf\xc3\xa9"], "S5")).attrs["unit"] = np.bytes_(b"\xb0C")
        file.create_dataset("free", data=[b"\xb0C", b"K"], dtype=h5py.string_dtype("ascii"))
        filled = file.create_dataset("filled", (5,), "S4", chunks=(2,), fillvalue=b"none")
        filled[:2] = [b"ab", b""]
        file.create_dataset("never", (3,), "S4", fillvalue=b"none")


def unwritten():
    """As a writer that is not netCDF-C would: marked as netCDF-4, no fill values declared."""
    with h5py.File(HERE / "unwritten.nc", "w", libver=("v110", "v110")) as file:
        file.attrs["_NCProperties"] = np.bytes_("version=2,h5netcdf=1.0")
        time = file.create_dataset("time", data=np.arange(4.0), maxshape=(None,), chunks=(2,))
        time.make_scale("time")

        def variable(name, written, length, **options):
            made = file.create_dataset(name, (length,), "f4", maxshape=(None,), chunks=(2,), **options)
            made.dims[0].attach_scale(time)
            if written:
                made[: len(written)] = written

        variable("inside", [1, 2], 4)
        variable("empty", [], 4)
        variable("beyond", [1, 2], 2)
        variable("both", [], 2)
        variable("edge", [1, 2, 3], 3)
        variable("declared", [1], 1, fillvalue=-9)
        file["inside"].attrs["_FillValue"] = np.array([7], "f4")
    with netCDF4.Dataset(HERE / "strings.nc", "w") as file:
        file.createDimension("x", 4)
        text = file.createVariable("text", str, ("x",), chunksizes=(2,), fill_value="NA")
        text[0] = "a"


def unfilled():
    """Shorter than their dimension by less than a chunk, one with and one without filled chunks."""
    with netCDF4.Dataset(HERE / "unfilled.nc", "w") as file:
        file.createDimension("time", None)
        for name, options in (("filled", {}), ("garbage", {"fill_value": False}), ("long", {})):
            file.createVariable(name, "i2", ("time",), chunksizes=(2,), **options)[: 4 if name == "long" else 3] = 1


def netcdf(name):
    with netCDF4.Dataset(HERE / name) as file:
        file.set_auto_mask(False)
        return {variable: file[variable][...].tolist() for variable in file.variables}


bits()
texts()
unwritten()
unfilled()
with h5py.File(HERE / "texts.h5") as file:
    strings = {name: [text.decode("latin1") for text in file[name][...]] for name in ("filled", "never")}
expected = {"texts.h5": strings, "unwritten.nc": netcdf("unwritten.nc"), "strings.nc": netcdf("strings.nc"), "unfilled.nc": netcdf("unfilled.nc")}
(HERE / "expected.json").write_text(json.dumps(expected) + "\n")
