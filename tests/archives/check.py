#!/usr/bin/env python3
"""Every URL that a shortened recipe asks for is in its generated archive, and nothing else is; xarray can join the files to the stated sizes."""
import datetime
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import xarray as xr
import yaml

HERE = pathlib.Path(__file__).resolve().parent


def shortened(name, row, base):
    """The recipe's text after the replacements of its row."""
    text = (HERE.parents[1] / "recipes" / name / "recipe.yaml").read_text()
    for old, new in [(row["prefix"], f"{base}/{name}/"), *row["replace"]]:
        assert text.count(old) == 1, f"{name}: `{old}` occurs {text.count(old)} times"
        text = text.replace(old, new)
    return yaml.safe_load(text)


def values(key):
    (kind, spec), = key.items()
    if kind == "list":
        return spec
    if kind == "range":
        return range(spec["start"], spec["end"] + 1, spec["step"])
    day, out = spec["start"], []
    while day <= spec["end"]:
        out.append(day)
        day = day.replace(year=day.year + 1) if spec["step"] == "1 year" else day + datetime.timedelta(1)
    return out


def fill(template, cell):
    def one(match):
        name, form = match.group(1), match.group(2) or ""
        return cell[name].strftime(form) if form.startswith("%") else format(cell[name], form)
    return re.sub(r"\{(\w+)(?::([^}]*))?\}", one, template)


def urls(inputs):
    keys = inputs["keys"]
    left_out = [tuple(cell.items()) for cell in inputs.get("except", [])]
    for combination in itertools.product(*(values(key) for key in keys.values())):
        cell = dict(zip(keys, combination))
        if not any(all(cell[key] == value for key, value in cells) for cells in left_out):
            yield fill(inputs["url"], cell)


def main():
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, HERE / "make.py", "all", scratch], check=True)
        for name, row in tomllib.loads((HERE / "archives.toml").read_text()).items():
            recipe = shortened(name, row, scratch)
            wanted = list(urls(recipe["inputs"]))
            found = {str(path) for path in (pathlib.Path(scratch) / name).rglob("*.nc")}
            assert set(wanted) == found, f"{name}: not in the archive {sorted(set(wanted) - found)[:3]}, not in the recipe {sorted(found - set(wanted))[:3]}"
            assert len(wanted) == row["files"], f"{name}: {len(wanted)} files"
            sizes = {}
            for path in wanted:
                with xr.open_dataset(path, decode_times=False) as file:
                    for dim, length in file.sizes.items():
                        merged = any("list" in key for key in recipe["inputs"]["keys"].values())
                        concat = [one["dim"] if isinstance(one, dict) else one for one in recipe["combine"].get("concat", [])]
                        groups = len(next(iter(recipe["inputs"]["keys"].values()))["list"]) if merged else 1
                        sizes[dim] = sizes.get(dim, 0) + length / groups if dim in concat else length
            for dim, length in row["sizes"].items():
                assert round(sizes[dim]) == length, f"{name}: {dim} is {sizes[dim]}, not {length}"
            print(f"ok   {name}: {len(wanted)} files, {row['sizes']}")


if __name__ == "__main__":
    main()
