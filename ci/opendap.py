"""Serves files through xpublish, and compares what is baked through OPeNDAP servers with what is baked from the files. See ci/opendap.sh."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import xarray as xr


def serve(folder: str, port: str) -> None:
    import xpublish

    files = sorted(pathlib.Path(folder).glob("*.nc"))
    # Times as they are stored: what is compared is what the files hold.
    datasets = {file.stem: xr.open_dataset(file, decode_times=False, decode_coords=not file.name.startswith("IMOS")) for file in files}
    xpublish.Rest(datasets).serve(host="127.0.0.1", port=int(port))


def pydap(folder: str, port: str) -> None:
    """pydap 3.5.9 with its file handler mended: as shipped it reshapes each slice to the whole's shape, and cannot read scalars."""
    from pydap.handlers import netcdf_handler
    from pydap.wsgi import app

    def values(self, key):
        with netcdf_handler.netcdf_file(self.filepath, "r") as source:
            source.set_auto_scale(False)
            variable = source[self.path]
            # A scalar is sent by walking over it.
            return np.asarray(variable[key] if variable.shape else variable[...].reshape(1)).astype(self.dtype)

    netcdf_handler.LazyVariable.__getitem__ = values
    sys.argv = ["pydap", "-b", "127.0.0.1", "-p", port, "-d", folder]
    app.main()


def bake(binary: str, folder: pathlib.Path, name: str, urls: list[str], concat: str | None, chunks: str, drop: list[str]) -> pathlib.Path:
    recipe = folder / f"{name}.yaml"
    combine = f"combine: {{concat: [{concat}]}}\n" if concat else ""
    steps = f"steps: [{{drop: {json.dumps(drop)}}}]\n" if drop else ""
    recipe.write_text(
        f"schema: 1\nid: {name}\ntitle: {name}\nlicense: CC0-1.0\ninputs:\n  files: {json.dumps(urls)}\n{combine}{steps}output: {{chunks: {chunks}}}\n"
    )
    target = folder / f"{name}.zarr"
    run = [binary, "run", str(recipe), "--target", str(target), "--quiet", "--verify", "full"]
    subprocess.run(run, check=True)
    subprocess.run([binary, "verify", str(target)], check=True, stdout=subprocess.DEVNULL)
    return target


def equal(direct: pathlib.Path, over: pathlib.Path, raw: bool) -> int:
    """Values (and, where the server tells them, types and attributes) of all variables; their number."""
    one, other = (xr.open_zarr(store, decode_times=False, mask_and_scale=not raw, consolidated=False) for store in (direct, over))
    assert set(one.variables) == set(other.variables), (set(one.variables), set(other.variables))
    for name in one.variables:
        left, right = one[name], other[name]
        assert left.dims == right.dims, (name, left.dims, right.dims)
        np.testing.assert_array_equal(left.values, right.values, err_msg=name)
        if raw:
            assert left.dtype == right.dtype, (name, left.dtype, right.dtype)
            for key, value in left.attrs.items():
                assert key in right.attrs and np.array_equal(value, right.attrs[key]), (name, key, value, right.attrs.get(key))
    return len(one.variables)


def compare(binary: str, place: str, pydap_port: str, xpublish_port: str) -> None:
    folder = pathlib.Path(place)
    served = folder / "served"
    pydap, xpublish = f"dap2+http://127.0.0.1:{pydap_port}", f"dap2+http://127.0.0.1:{xpublish_port}/datasets"
    mrsos = sorted(file.name for file in served.glob("mrsos*.nc"))
    imos = sorted(file.name for file in served.glob("IMOS*.nc"))
    sets = [
        ("coads", ["coads.nc"], None, "{TIME: 3}"),
        ("cmip", mrsos, "time", "{time: 1000}"),
        ("imos", imos, "TIME", "{TIME: 1}"),
    ]
    for name, files, concat, chunks in sets:
        if not files:
            continue
        for server, urls in [("pydap", [f"{pydap}/{file}" for file in files]), ("xpublish", [f"{xpublish}/{file[:-3]}/opendap" for file in files])]:
            # pydap sends signed bytes as 16 bits, xpublish sends what xarray decoded: there the values count, not their types.
            raw = server == "pydap" and name != "imos"
            bounds = ["lat_bnds", "lon_bnds", "time_bnds"]
            # xpublish 0.5.2 declares no scalars, invents coordinates, and breaks off where one name begins as another does.
            left = {("cmip", "xpublish"): (["depth", *bounds], ["bnds", *bounds])}.get((name, server), ([], []))
            direct = bake(binary, folder, f"{name}-beside-{server}", [str(served / file) for file in files], concat, chunks, left[0])
            over = bake(binary, folder, f"{name}-{server}", urls, concat, chunks, left[1])
            print(f"{name} through {server}: {equal(direct, over, raw)} variables of {len(files)} files equal{' in type and attributes too' if raw else ''}")


if __name__ == "__main__":
    {"serve": serve, "pydap": pydap, "compare": compare}[sys.argv[1]](*sys.argv[2:])
