#!/usr/bin/env python3
"""Generates a small archive that looks like a public one: same paths, dimensions, types, packing and quirks; made-up values.

    make.py NAME OUT      below OUT: the paths that follow `prefix` in archives.toml
    make.py all OUT       every archive, in OUT/NAME

Deterministic. Dates and lengths are those of `keys` in archives.toml; grids are coarser than the originals'.
"""
import calendar
import datetime
import pathlib
import sys

import netCDF4
import numpy as np

SHUFFLED = {"zlib": True, "complevel": 4, "shuffle": True}


class File:
    """One file being written: dimensions, then variables with raw values."""

    def __init__(self, path, format="NETCDF4", **attributes):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.data = netCDF4.Dataset(path, "w", format=format)
        self.data.setncatts(attributes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.data.close()

    def dims(self, **lengths):
        for name, length in lengths.items():
            self.data.createDimension(name, length)

    def add(self, name, dtype, dims, values, attributes=None, **options):
        attributes = dict(attributes or {})
        fill = attributes.pop("_FillValue", None)
        variable = self.data.createVariable(name, dtype, dims, fill_value=fill, **options)
        variable.set_auto_maskandscale(False)
        variable.setncatts(attributes)
        variable[...] = values


def axis(length, first, last, dtype="f4"):
    step = (last - first) / length
    return (first + step / 2 + step * np.arange(length)).astype(dtype)


def field(seed, shape):
    """A smooth field in [-1, 1] with a little noise."""
    chance = np.random.default_rng(seed)
    grid = np.meshgrid(*[np.linspace(0, 3, length) for length in shape[-2:]], indexing="ij")
    smooth = np.sin(2 * grid[0] + seed % 7) * np.cos(grid[1] + seed % 5)
    return np.clip(smooth + 0.05 * chance.standard_normal(shape), -1, 1)


def packed(values, scale, offset, dtype, fill, holes):
    raw = np.rint((values - offset) / scale).astype(dtype)
    raw[holes] = fill
    return raw


def latlon(file, ny, nx, south=-90, north=90, west=0, east=360, dtype="f4", names=("lat", "lon"), **more):
    file.add(names[0], dtype, (names[0],), axis(ny, south, north, dtype), {"units": "degrees_north", "standard_name": "latitude", "axis": "Y", **more})
    file.add(names[1], dtype, (names[1],), axis(nx, west, east, dtype), {"units": "degrees_east", "standard_name": "longitude", "axis": "X", **more})


def days(first, last, missing=()):
    day = first
    while day <= last:
        if day not in missing:
            yield day
        day += datetime.timedelta(1)


def noaa_oisst(out):
    """A day a file; unlimited time, a depth of length 1, four packed int16 variables, land as -999."""
    ny, nx = 36, 72
    for day in days(datetime.date(1981, 9, 1), datetime.date(1981, 10, 10)):
        number = (day - datetime.date(1978, 1, 1)).days
        with File(out / f"{day:%Y%m}" / f"oisst-avhrr-v02r01.{day:%Y%m%d}.nc", Conventions="CF-1.6, ACDD-1.3", id=f"oisst-avhrr-v02r01.{day:%Y%m%d}.nc",
                  title="NOAA/NCEI 1/4 Degree Daily OISST Analysis, Version 2.1 - Final", time_coverage_start=f"{day}T00:00:00Z") as file:
            file.dims(time=None, zlev=1, lat=ny, lon=nx)
            file.add("time", "f4", ("time",), [number], {"long_name": "Center time of the day", "units": "days since 1978-01-01 12:00:00"})
            file.add("zlev", "f4", ("zlev",), [0], {"long_name": "Sea surface height", "units": "meters", "positive": "down", "actual_range": "0, 0"})
            latlon(file, ny, nx)
            land = field(1, (ny, nx)) > 0.6
            for seed, (name, scale, middle, units) in enumerate([("sst", 15, 15, "Celsius"), ("anom", 2, 0, "Celsius"), ("err", 0.2, 0.3, "Celsius"), ("ice", 0.4, 0.5, "%")]):
                values = packed(middle + scale * field(number + seed, (ny, nx)), 0.01, 0, "i2", -999, land)
                file.add(name, "i2", ("time", "zlev", "lat", "lon"), values[None, None], {
                    "_FillValue": np.int16(-999), "long_name": f"Daily {name}", "units": units, "add_offset": np.float32(0), "scale_factor": np.float32(0.01),
                    "valid_min": np.int16(-300), "valid_max": np.int16(4500)}, chunksizes=(1, 1, ny, nx), **SHUFFLED)


def terraclimate(out):
    """Variable × year; packed int16 or int32 with another scale per variable, a text `crs`, an extra dimension in some files."""
    ny, nx = 30, 60
    names = "aet def pet ppt q soil srad swe tmax tmin vap ws vpd PDSI".split()
    for year in (1959, 1960):
        for seed, name in enumerate(names):
            with File(out / f"TerraClimate_{name}_{year}.nc", Conventions="CF-1.4", method=f"{name} of {year}", references="Abatzoglou et al., 2018") as file:
                file.dims(lat=ny, lon=nx, time=12, crs=1)
                latlon(file, ny, nx, 90, -90, -180, 180, "f8")
                firsts = [(datetime.date(year, month, 1) - datetime.date(1900, 1, 1)).days for month in range(1, 13)]
                file.add("time", "f8", ("time",), firsts, {"units": "days since 1900-01-01 00:00:00", "standard_name": "time", "calendar": "gregorian"})
                file.add("crs", "S1", ("crs",), np.array([b"1"]), {"grid_mapping_name": "latitude_longitude"})
                wide = name in ("ppt", "q", "aet", "pet", "def", "soil", "swe")
                dtype, fill = ("i4", np.int32(-2147483648)) if wide else ("i2", np.int16(-32768))
                holes = np.broadcast_to(field(3, (ny, nx)) > 0.5, (12, ny, nx))
                values = packed(20 + 20 * field(year * 20 + seed, (12, ny, nx)), 0.1 if wide else 0.01, 0, dtype, fill, holes)
                units = {"tmax": "degC", "tmin": "degC", "ws": "m/s", "vap": "kPa", "vpd": "kPa", "srad": "W/m^2", "PDSI": "unitless"}.get(name, "mm")
                file.add(name, dtype, ("time", "lat", "lon"), values, {
                    "_FillValue": fill, "units": units, "long_name": name, "scale_factor": 0.1 if wide else 0.01, "add_offset": 0.0,
                    "grid_mapping": "crs", "coordinate_system": "WGS84,EPSG:4326"}, chunksizes=(1, ny, nx), **SHUFFLED)
                if name in ("tmax", "tmin", "ppt"):
                    stations = field(9, (12, ny, nx))
                    file.add(f"station_influence_{name}", "i1", ("time", "lat", "lon"), (stations > 0) * 8, {"_FillValue": np.int8(-128)}, **SHUFFLED)


def noaa_geopolar_sst(out):
    """GHRSST L4: int16 with offset 273.15, int8 ice and mask, time as int32 seconds; days that do not exist."""
    ny, nx = 36, 72
    for day in days(datetime.date(2018, 3, 4), datetime.date(2018, 3, 20), [datetime.date(2018, 3, one) for one in (6, 12, 17)]):
        seconds = (day - datetime.date(1981, 1, 1)).days * 86400
        name = f"{day:%Y%m%d}000000-OSPO-L4_GHRSST-SSTfnd-Geo_Polar_Blended_Night-GLOB-v02.0-fv01.0.nc"
        with File(out / f"{day:%Y}" / name, Conventions="CF-1.6", start_time=f"{day:%Y%m%d}T000000Z", uuid=f"{seconds:032x}", gds_version_id="2.0") as file:
            file.dims(time=None, lat=ny, lon=nx)
            latlon(file, ny, nx, west=-180, east=180)
            file.add("time", "i4", ("time",), [seconds], {"units": "seconds since 1981-01-01 00:00:00", "long_name": "reference time of sst file", "standard_name": "time", "axis": "T"})
            land = field(1, (ny, nx)) > 0.6
            chunked = {"chunksizes": (1, ny // 2, nx // 2), "zlib": True, "complevel": 6}
            sst = packed(288 + 14 * field(seconds, (ny, nx)), 0.01, 273.15, "i2", -32768, land)
            error = packed(1 + field(seconds + 1, (ny, nx)), 0.01, 0.0, "i2", -32768, land)
            ice = packed(0.5 + 0.4 * field(seconds + 2, (ny, nx)), 0.01, 0.0, "i1", -128, land)
            for key, dtype, raw, attributes in [
                ("analysed_sst", "i2", sst, {"units": "kelvin", "standard_name": "sea_surface_foundation_temperature", "scale_factor": 0.01, "add_offset": 273.15, "valid_min": np.int16(-300), "valid_max": np.int16(4500)}),
                ("analysis_error", "i2", error, {"units": "kelvin", "scale_factor": 0.01, "add_offset": 0.0, "valid_min": np.int16(0), "valid_max": np.int16(32767)}),
                ("sea_ice_fraction", "i1", ice, {"units": "1", "standard_name": "sea_ice_area_fraction", "scale_factor": 0.01, "add_offset": 0.0, "valid_min": np.int8(0), "valid_max": np.int8(100)}),
                ("mask", "i1", np.where(land, 2, 1), {"flag_masks": np.array([1, 2, 4, 8, 16], "i1"), "flag_meanings": "water land optional_lake_surface sea_ice optional_river_surface"}),
            ]:
                file.add(key, dtype, ("time", "lat", "lon"), raw[None], {"_FillValue": np.dtype(dtype).type(-128 if dtype == "i1" else -32768), **attributes}, **chunked)


def riops(out):
    """Variable × lead hour; each file counts hours or seconds from its own moment, so that rounding to days would lose all."""
    ny, nx = 41, 45
    start = datetime.datetime(2022, 3, 3)
    for lead in range(0, 9):
        moment = start + datetime.timedelta(hours=lead)
        for seed, (name, units, long_name) in enumerate([("VOTEMPER", "Kelvins", "Temperature"), ("VOSALINE", "1e-3", "Salinity"), ("VOZOCRTX", "m/s", "X velocity"), ("VOMECRTY", "m/s", "Y velocity")]):
            with File(out / "00" / f"{lead:03d}" / f"20220303T00Z_MSC_RIOPS_{name}_DBS-0.5m_PS5km_P{lead:03d}.nc", Conventions="CF-1.6", history=f"made at {moment}") as file:
                file.dims(time=None, depth=1, yc=ny, xc=nx)
                unit = "hours" if lead % 2 == 0 else "seconds"
                file.add("time", "i4" if lead % 2 else "f8", ("time",), [0], {"units": f"{unit} since {moment:%Y-%m-%d %H:%M:%S}", "calendar": "gregorian", "standard_name": "time", "axis": "T"})
                file.add("depth", "f4", ("depth",), [0.5], {"units": "m", "positive": "down", "standard_name": "depth"})
                file.add("xc", "f8", ("xc",), 5000.0 * np.arange(nx), {"units": "m", "standard_name": "projection_x_coordinate"})
                file.add("yc", "f8", ("yc",), 5000.0 * np.arange(ny), {"units": "m", "standard_name": "projection_y_coordinate"})
                file.add("polar_stereographic", "i4", (), 0, {"grid_mapping_name": "polar_stereographic", "latitude_of_projection_origin": 90.0})
                for key, low, high in (("latitude", 40, 85), ("longitude", -100, 20)):
                    file.add(key, "f8", ("yc", "xc"), low + (high - low) * (field(4, (ny, nx)) + 1) / 2, {"units": "degrees_" + ("north" if key == "latitude" else "east"), "standard_name": key})
                values = field(lead * 10 + seed, (ny, nx)).astype("f4")
                values[field(2, (ny, nx)) > 0.5] = np.float32(1e20)
                file.add(name.lower(), "f4", ("time", "depth", "yc", "xc"), values[None, None], {
                    "_FillValue": np.float32(1e20), "missing_value": np.float32(1e20), "units": units, "long_name": long_name, "grid_mapping": "polar_stereographic",
                    "coordinates": "latitude longitude"}, **SHUFFLED)


def woa18_temperature(out):
    """Twelve months, one a file; `months since` without a calendar, default-like fill 9.96921e36, bounds and a scalar crs."""
    nz, ny, nx = 6, 18, 36
    for month in range(1, 13):
        with File(out / f"woa18_decav_t{month:02d}_01.nc", Conventions="CF-1.6, ACDD-1.3", id=f"woa18_decav_t{month:02d}_01.nc", title=f"World Ocean Atlas 2018: temperature month {month:02d}") as file:
            file.dims(lat=ny, lon=nx, depth=nz, time=1, nbounds=2)
            file.add("crs", "i4", (), 0, {"grid_mapping_name": "latitude_longitude", "epsg_code": "EPSG:4326", "longitude_of_prime_meridian": np.float32(0)})
            lat, lon, depth = axis(ny, -90, 90), axis(nx, -180, 180), np.array([0, 5, 10, 25, 50, 100], "f4")
            for name, values, half, attributes in (("lat", lat, 5, {"units": "degrees_north", "standard_name": "latitude"}), ("lon", lon, 5, {"units": "degrees_east", "standard_name": "longitude"}), ("depth", depth, 2, {"units": "meters", "standard_name": "depth", "positive": "down"})):
                file.add(name, "f4", (name,), values, {**attributes, "bounds": f"{name}_bnds"})
                file.add(f"{name}_bnds", "f4", (name, "nbounds"), np.stack([values - half, values + half], 1))
            file.add("time", "f4", ("time",), [372.5 + month - 1], {"units": "months since 1955-01-01 00:00:00", "standard_name": "time", "axis": "T", "climatology": "climatology_bounds"})
            file.add("climatology_bounds", "f4", ("time", "nbounds"), [[month - 1, 743 + month]])
            fill = np.float32(9.96921e36)
            for seed, name in enumerate(("t_an", "t_mn", "t_sd", "t_se", "t_oa", "t_ma")):
                values = (15 + 15 * field(month * 10 + seed, (nz, ny, nx))).astype("f4")
                values[:, field(3, (ny, nx)) > 0.5] = fill
                file.add(name, "f4", ("time", "depth", "lat", "lon"), values[None], {"_FillValue": fill, "units": "degrees_celsius", "grid_mapping": "crs", "cell_methods": "area: mean depth: mean time: mean"}, **SHUFFLED)
            for name in ("t_dd", "t_gp"):
                file.add(name, "i4", ("time", "depth", "lat", "lon"), np.full((1, nz, ny, nx), month), {"_FillValue": np.int32(-32767), "units": "1", "grid_mapping": "crs"}, **SHUFFLED)


def cesm_atm_025deg(out):
    """Variable × 365-day year; NetCDF-3 64-bit offset with interleaved records, noleap, time at the end of its interval."""
    ny, nx = 12, 18
    prefix = "FV_768x1152.bilinear.hybrid_v5_rel04_BC5_ne120_t12_pop62.cam.h1"
    for year in (46, 47):
        for seed, name in enumerate("LHFLX SHFLX FLDS FSNS PSL TAUX TAUY TS U10".split()):
            with File(out / f"{prefix}.{name}.{year:04d}0101-{year:04d}1231.nc", format="NETCDF3_64BIT_OFFSET", Conventions="CF-1.0", source="CAM", case="hybrid_v5_rel04_BC5_ne120_t12_pop62", history=f"{name} {year}") as file:
                file.dims(time=None, lat=ny, lon=nx, nbnd=2)
                latlon(file, ny, nx, dtype="f8")
                number = np.arange(365) + 365.0 * (year - 1)
                file.add("time", "f8", ("time",), number + 1, {"units": "days since 0001-01-01 00:00:00", "calendar": "noleap", "bounds": "time_bnds", "long_name": "time"})
                file.add("time_bnds", "f8", ("time", "nbnd"), np.stack([number, number + 1], 1), {"long_name": "time interval endpoints"})
                file.add(name, "f4", ("time", "lat", "lon"), field(year * 10 + seed, (365, ny, nx)), {"units": "Pa" if name == "PSL" else "W/m2", "long_name": name, "cell_methods": "time: mean"})


def gfdl_cm4_static(out):
    """Three files without time: NetCDF-4, NetCDF-4 classic and classic, told apart only by their bytes."""
    ny, nx = 18, 36
    for (name, units, scale), format in zip((("areacella", "m2", 1e10), ("orog", "m", 4000), ("sftlf", "%", 50)), ("NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_CLASSIC")):
        with File(out / name / "gr1" / "v20180701" / f"{name}_fx_GFDL-CM4_historical_r1i1p1f1_gr1.nc", format=format, Conventions="CF-1.7 CMIP-6.0 UGRID-1.0", source_id="GFDL-CM4", variable_id=name,
                  tracking_id=f"hdl:21.14100/{name}", license="CMIP6 model data produced by NOAA-GFDL is licensed under CC BY 4.0") as file:
            file.dims(lat=ny, lon=nx, bnds=2)
            for key, values in (("lat", axis(ny, -90, 90, "f8")), ("lon", axis(nx, 0, 360, "f8"))):
                file.add(key, "f8", (key,), values, {"units": "degrees_north" if key == "lat" else "degrees_east", "standard_name": key + "itude", "axis": "Y" if key == "lat" else "X", "bounds": f"{key}_bnds"})
                file.add(f"{key}_bnds", "f8", (key, "bnds"), np.stack([values - 5, values + 5], 1), {"long_name": f"{key} bounds"})
            options = {} if format.startswith("NETCDF3") else SHUFFLED
            file.add(name, "f4", ("lat", "lon"), scale * (1 + field(len(name), (ny, nx))), {"_FillValue": np.float32(1e20), "missing_value": np.float32(1e20), "units": units, "cell_methods": "area: mean" if name != "areacella" else "area: sum", **({} if name == "areacella" else {"cell_measures": "area: areacella"})}, **options)


def ncep_reanalysis(out):
    """Variable × year with a leap year; hours since 1800, latitude from north to south, NetCDF-4 classic."""
    ny, nx = 19, 36
    for year in (1951, 1952):
        for seed, (stem, name, units, middle, scale) in enumerate([("air.sig995", "air", "degK", 280, 30), ("rhum.sig995", "rhum", "%", 50, 49), ("slp", "slp", "Pascals", 101300, 2000)]):
            length = 366 if calendar.isleap(year) else 365
            with File(out / f"{stem}.{year}.nc", format="NETCDF4_CLASSIC", Conventions="COARDS", title="mean daily NMC reanalysis", history=f"created {year}", dataset_title="NCEP-NCAR Reanalysis 1") as file:
                file.dims(lat=ny, lon=nx, time=None)
                file.add("lat", "f4", ("lat",), np.linspace(90, -90, ny), {"units": "degrees_north", "standard_name": "latitude", "axis": "Y", "actual_range": np.array([90, -90], "f4")})
                file.add("lon", "f4", ("lon",), np.arange(nx) * 10, {"units": "degrees_east", "standard_name": "longitude", "axis": "X", "actual_range": np.array([0, 350], "f4")})
                hours = ((datetime.date(year, 1, 1) - datetime.date(1800, 1, 1)).days + np.arange(length)) * 24.0
                file.add("time", "f8", ("time",), hours, {"units": "hours since 1800-01-01 00:00:0.0", "standard_name": "time", "axis": "T", "delta_t": "0000-00-01 00:00:00", "actual_range": hours[[0, -1]]}, chunksizes=(366,))
                file.add(name, "f4", ("time", "lat", "lon"), middle + scale * field(year * 10 + seed, (length, ny, nx)), {
                    "units": units, "missing_value": np.float32(-9.96921e36), "long_name": f"mean Daily {name}", "valid_range": np.array([-1e6, 1e6], "f4"),
                    "actual_range": np.array([year, seed], "f4")}, chunksizes=(1, ny, nx), zlib=True, complevel=2, shuffle=True)


ARCHIVES = {make.__name__.replace("_", "-"): make for make in (
    noaa_oisst, terraclimate, noaa_geopolar_sst, riops, woa18_temperature, cesm_atm_025deg, gfdl_cm4_static, ncep_reanalysis)}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in (*ARCHIVES, "all"):
        sys.exit(f"usage: make.py NAME OUT, NAME one of: all {' '.join(ARCHIVES)}")
    name, out = sys.argv[1], pathlib.Path(sys.argv[2])
    for one, make in ARCHIVES.items():
        if name == one:
            make(out)
        elif name == "all":
            make(out / one)


if __name__ == "__main__":
    main()
