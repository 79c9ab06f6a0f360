#!/usr/bin/env python3
"""Writes the files beside it: one dataset, two steps a file, each file compressed in another way. Made with netCDF4 and h5py.

What each holds is in `FILES`; values are a function of file, step, row and column, so that no two chunks are equal.
"""
import pathlib

import h5py
import netCDF4
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
STEPS, ROWS, COLUMNS = 2, 10, 12
# Chunks of `packed` do not divide its rows: the last of each step is padded.
CHUNKS = {"packed": (1, 4, COLUMNS), "field": (1, 5, COLUMNS)}
PLAIN = {"zlib": True, "complevel": 4, "shuffle": True}
FILES = [
    ("a-plain", PLAIN),
    ("b-level-9", PLAIN | {"complevel": 9}),  # one chunk of `packed` was never written, one has its deflate skipped
    ("c-contiguous", {"contiguous": True}),
    ("d-no-shuffle", PLAIN | {"shuffle": False}),
    ("e-big-endian", PLAIN | {"endian": "big"}),
    ("f-other-chunks", PLAIN | {"chunksizes": (1, ROWS, COLUMNS)}),
    ("g-fletcher32", PLAIN | {"fletcher32": True}),
    ("h-missing", PLAIN),  # missing values in one chunk of `field`, and in the padding of all of `packed`
    ("i-plain", PLAIN),
]


def values(number):
    count = np.arange(STEPS * ROWS * COLUMNS).reshape(STEPS, ROWS, COLUMNS) + 1000 * number
    return ((count * 37) % 20011).astype("i2"), (np.sin(count / 7) * 100).astype("f4").round(1)


def write(path, number, storage):
    packed, field = values(number)
    with netCDF4.Dataset(path, "w") as file:
        file.set_fill_on()
        for name, length in (("time", STEPS), ("row", ROWS), ("column", COLUMNS)):
            file.createDimension(name, length)
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 2001-01-01"
        time[:] = np.arange(STEPS) + STEPS * number
        for name, dtype, fill in (("packed", "i2", -999), ("field", "f4", 1e20)):
            how = {} if "contiguous" in storage else {"chunksizes": CHUNKS[name]}
            file.createVariable(name, dtype, ("time", "row", "column"), fill_value=np.array(fill, dtype)[()], **how | storage)
            file[name].set_auto_maskandscale(False)
        file["packed"].scale_factor = 0.01
        if "level-9" in path.name:
            file["packed"][0, :4], file["packed"][1] = packed[0, :4], packed[1]  # rows 4 to 9 of step 0 stay unwritten
        else:
            file["packed"][:] = packed
        if "missing" in path.name:
            field[1, 3, 5] = 1e20
        file["field"][:] = field
    if "level-9" in path.name:
        with h5py.File(path, "r+") as file:
            chunk = packed[1, :4].astype("<i2")
            shuffled = chunk.view("u1").reshape(-1, 2).T.tobytes()
            file["packed"].id.write_direct_chunk((1, 0, 0), shuffled, filter_mask=0b10)


for number, (name, storage) in enumerate(FILES):
    write(HERE / f"{name}.nc", number, storage)
