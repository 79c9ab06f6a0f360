#!/usr/bin/env bash
# Collects where fuzzing begins, in tests/fuzz/seeds (not kept): small real files, recipes, and a few bytes made here.
set -euo pipefail
cd "$(dirname "$0")/../.."
shared=${GRISTMILL_SHARED:-../shared}
seeds=tests/fuzz/seeds
[ -d "$seeds/hdf5" ] && exit 0
mkdir -p "$seeds"/{recipe,template,netcdf3,hdf5,filters,placement,state,zarr}
find "$shared/data" tests/data -type f -size -65k | while read -r file; do
  case $(head -c 4 "$file" | tr -d '\0' | od -An -c | tr -d ' \n') in
    *HDF) target=hdf5 ;;
    CDF*) target=netcdf3 ;;
    *) continue ;;
  esac
  cp "$file" "$seeds/$target/$(sha256sum "$file" | cut -c1-16)"
done
for file in recipes/*.yaml recipes/*/*.yaml tests/invalid/*.yaml tests/oracle/cases/*.yaml; do
  [ -f "$file" ] && cp "$file" "$seeds/recipe/$(sha256sum "$file" | cut -c1-16)"
done
printf 'https://h/{time:%%Y%%m}/a.{time:%%Y%%m%%d}.nc\nvalue' >"$seeds/template/date"
printf '{{x}}{n:03d}-{n}.nc\n7' >"$seeds/template/number"
for kind in 0 1 2 3 4 5 6 7 8 9; do
  printf "\\x0$kind\\x01\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00abcdefghijklmnopqrstuvwxyz" >"$seeds/filters/$kind"
  printf "\\x0$kind\\x03\\x04\\x05\\x06\\x02\\x02\\x03abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz" >"$seeds/placement/$kind"
done
"${PYTHON:-python3}" - "$seeds" <<'PYTHON'
import json, pathlib, sys, zlib
seeds = pathlib.Path(sys.argv[1])
head = bytes([1, 1, 3, 0]) + (9).to_bytes(4, "little") + bytes([0, 0])
(seeds / "filters/deflated").write_bytes(bytes([0, 1, 0, 0]) + (9).to_bytes(4, "little") + bytes([0, 0]) + zlib.compress(bytes(10)))
array = {"zarr_format": 3, "node_type": "array", "shape": [4, 3], "data_type": "float32", "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
         "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "fill_value": "NaN", "dimension_names": ["t", "x"],
         "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "typesize": 4, "blocksize": 0}}],
         "attributes": {"units": "K", "_FillValue": "AAAAAAAA+H8=", "coordinates": "t"}}
group = {"zarr_format": 3, "node_type": "group", "attributes": {"title": "x"},
         "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": {"v": array, "g": {"zarr_format": 3, "node_type": "group", "attributes": {}}}}}
(seeds / "zarr/three").write_text(json.dumps(group))
two = {"zarr_consolidated_format": 1, "metadata": {".zgroup": {"zarr_format": 2}, ".zattrs": {"a": 1}, "v/.zattrs": {"_ARRAY_DIMENSIONS": ["t"]},
       "v/.zarray": {"zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "<f4", "fill_value": "NaN", "order": "C", "filters": None, "compressor": {"id": "zlib", "level": 1}}}}
(seeds / "zarr/two").write_text(json.dumps(two))
receipt = {"plan": "0" * 32, "stage": 0, "task": 3, "chunks": [{"key": "v/c/0", "bytes": 12, "checksum": "0" * 32}], "inputs": [{"input": 0, "bytes": 5, "checksum": "f" * 32}], "raw_bytes": 12}
(seeds / "state/receipt").write_bytes(b"\0" + json.dumps(receipt).encode())
(seeds / "state/committed").write_bytes(b"\2" + json.dumps({"id": "a", "plan": "b"}).encode())
PYTHON
# Plans, receipts and scans of real runs, where the program is built.
program=${GRISTMILL:-target/debug/gristmill}
if [ -x "$program" ]; then
  folder=$(mktemp -d)
  for name in arm-met cmip6-siconc imos-currents tcco2-packed; do
    "$program" run "recipes/$name/recipe.yaml" --target "$folder/$name.zarr" --quiet >/dev/null 2>&1 || continue
    state=$folder/$name.zarr.gristmill
    { printf '\3'; cat "$state/plan.json"; } >"$seeds/state/plan-$name"
    find "$state/receipts" -name '*.json' | head -2 | while read -r file; do { printf '\0'; cat "$file"; } >"$seeds/state/receipt-$name-$(basename "$file")"; done
    [ -d "$state/scan" ] && find "$state/scan" -type f | head -1 | while read -r file; do { printf '\1'; cat "$file"; } >"$seeds/state/scan-$name"; done || true
    cp "$folder/$name.zarr/zarr.json" "$seeds/zarr/$name"
    { printf '\2'; cat "$state/report.json"; } >"$seeds/state/report-$name"
  done
  find "$seeds" -type f -size +64k -delete
  rm -r "$folder"
fi
