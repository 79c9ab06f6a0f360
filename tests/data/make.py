#!/usr/bin/env python3
"""Crops the files of tests/data from the shared data sets: `make.py` rewrites them, `make.py --check` compares.

Keeps format, types, packing, raw values, attributes, fill values, chunks and filters; deterministic.
"""
import os
import pathlib
import shutil
import sys
import tempfile

import netCDF4
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("GRISTMILL_SHARED", HERE.parents[2] / "shared")) / "data"


def crop(source, target, variables=None, region=None):
    """Copies some variables (None: all) of a box ({dimension: slice}) of a file."""
    region = region or {}
    target.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(source) as old, netCDF4.Dataset(target, "w", format=old.data_model) as new:
        old.set_auto_maskandscale(False)
        old.set_auto_chartostring(False)
        names = list(old.variables) if variables is None else [name for name in old.variables if name in variables]
        new.setncatts({name: old.getncattr(name) for name in old.ncattrs()})
        used = {dimension for name in names for dimension in old[name].dimensions}
        for name, dimension in old.dimensions.items():
            if name in used:
                length = len(range(*region.get(name, slice(None)).indices(len(dimension))))
                new.createDimension(name, None if dimension.isunlimited() else length)
        for name in names:
            copy_variable(old[name], new, region)


def copy_variable(variable, new, region):
    values = variable[tuple(region.get(dimension, slice(None)) for dimension in variable.dimensions)]
    attributes = {name: variable.getncattr(name) for name in variable.ncattrs()}
    options = {"fill_value": attributes.pop("_FillValue", None)}
    filters = variable.filters()
    if filters is not None:
        options |= {"zlib": filters["zlib"], "complevel": filters["complevel"] or None, "shuffle": filters["shuffle"]}
        if variable.chunking() == "contiguous":
            options["contiguous"] = True
        elif variable.shape:
            options["chunksizes"] = [max(1, min(chunk, length)) for chunk, length in zip(variable.chunking(), np.shape(values))]
    copy = new.createVariable(variable.name, variable.dtype, variable.dimensions, **options)
    copy.set_auto_maskandscale(False)
    copy.setncatts(attributes)
    copy[...] = values


def arm(out):
    """Daily station files: the epoch in `units` of the times changes every day; base_time differs and has no time dimension."""
    keep = ["base_time", "time_offset", "time", "atmos_pressure", "temp_mean", "qc_temp_mean", "rh_mean", "wspd_vec_mean", "lat", "lon", "alt"]
    for day in range(1, 6):
        name = f"sgpmetE13.b1.201901{day:02d}.000000.cdf"
        crop(SHARED / "arm-sgpmet-daily" / name, out / "arm-met" / name, keep)


def imos(out):
    """Hourly currents, one component per file: what archives that publish a variable per file look like."""
    grid = ["TIME", "I", "J", "LATITUDE", "LONGITUDE"]
    for hour in range(4):
        name = f"IMOS_ACORN_V_20240101T{hour:02d}0000Z_TURQ_FV01_1-hour-avg.nc"
        for component in ("UCUR", "VCUR"):
            variables = [*grid, component, f"{component}_quality_control"]
            crop(SHARED / "imos-hfradar-turq-hourly" / name, out / "imos-currents" / component / name.replace("ACORN_V", f"ACORN_{component}"),
                 variables, {"I": slice(5, 55), "J": slice(5, 55)})


def siconc(out):
    """Sea ice on MPI's curvilinear ocean grid, as published (already a cropped selection)."""
    for year in range(1990, 2015, 5):
        name = f"siconc_SImon_MPI-ESM1-2-HR_historical_r1i1p1f1_gn_{year}01-{year + 4}12.nc"
        (out / "cmip6-siconc").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHARED / "cmip6-mpihr-siconc-mon" / name, out / "cmip6-siconc" / name)


def tcco2(out):
    """Total column CO2, packed in int16 with another scale and offset in every daily file."""
    for day in range(1, 6):
        name = f"tcco2_200601{day:02d}.nc"
        crop(SHARED / "derived-tcco2-daily-repacked" / name, out / "tcco2-packed" / name, None,
             {"latitude": slice(20, 60), "longitude": slice(100, 180)})


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix in (".nc", ".cdf")}


def main():
    with tempfile.TemporaryDirectory() as scratch:
        made = pathlib.Path(scratch)
        for make in (arm, imos, siconc, tcco2):
            make(made)
        if "--check" in sys.argv:
            different = [str(name) for name, data in contents(made).items() if contents(HERE).get(name) != data]
            sys.exit(f"differ from what make.py makes: {', '.join(different)}" if different else 0)
        for name, data in contents(made).items():
            (HERE / name).parent.mkdir(parents=True, exist_ok=True)
            (HERE / name).write_bytes(data)
    total = sum(len(data) for data in contents(HERE).values())
    print(f"{len(contents(HERE))} files, {total / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
