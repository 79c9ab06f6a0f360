"""Makes the two files beside it: HDF5 with an attribute of a committed compound type as HDF5 1.8 and later write it, which
hdf5-reader does not follow and netCDF-C reads. Synthetic values. Needs h5py."""

from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
STEPS, ROWS, COLUMNS = 6, 60, 80


def make(number: int) -> None:
    with h5py.File(HERE / f"part{number}.nc", "w", libver=("v108", "v108")) as file:
        file["pair"] = np.dtype([("low", "f4"), ("high", "f4")])
        file.attrs.create("limits", np.array((0, 100), dtype=file["pair"].dtype), dtype=file["pair"])
        time = file.create_dataset("time", data=STEPS * number + np.arange(STEPS, dtype="f8"))
        time.attrs["units"] = "days since 2000-01-01"
        scales = {"time": time, "y": file.create_dataset("y", data=np.arange(ROWS)), "x": file.create_dataset("x", data=np.arange(COLUMNS))}
        for name, scale in scales.items():
            scale.make_scale(name)
        counted = (STEPS * ROWS * COLUMNS * number + np.arange(STEPS * ROWS * COLUMNS)).reshape(STEPS, ROWS, COLUMNS)
        level = file.create_dataset("level", data=(counted % 2000 - 20).astype("i2"), chunks=(4, 32, 80), compression=6, shuffle=True)
        depth = file.create_dataset("depth", data=np.sqrt(counted % 500).astype("f4"), chunks=(1, 60, 80), compression=6, shuffle=True)
        for variable in (level, depth):
            variable.attrs["units"] = "m"
            for axis, scale in enumerate(scales.values()):
                variable.dims[axis].attach_scale(scale)


for part in range(2):
    make(part)
