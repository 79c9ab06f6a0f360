#!/usr/bin/env python3
"""What people write: open_mfdataset, chunk, to_zarr, with xarray's own defaults for all the rest.   bench_xarray.py WORKLOAD SIZE OUT"""
import os
import sys


def main():
    workload, size, out = sys.argv[1:4]
    sys.path.insert(0, os.getcwd())  # started in the folder of workloads.py
    import workloads
    import xarray as xr

    chunks = dict(zip(workloads.W[workload]["dims"], workloads.chunks(workload, size)))
    xr.open_mfdataset(workloads.files(workload, size)).chunk(chunks).to_zarr(out)


if __name__ == "__main__":
    main()
