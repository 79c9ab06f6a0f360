"""Holds the STAC item of tests/discovery to the JSON schema of STAC 1.1.0, as the `pystac[validation]` package ships it.

    pip install 'pystac[validation]' && python ci/stac_schema.py
"""

import json
from pathlib import Path

import pystac
from pystac.validation import validate_dict

text = (Path(__file__).parent.parent / "tests/discovery/stac-item.json").read_text()
item = json.loads(text.replace("START", "1990-01-01T00:00:00.000Z"))
validate_dict(item)
broken = {**item, "assets": {"data": {}}}
try:
    validate_dict(broken)
except pystac.errors.STACValidationError:
    print("the item of tests/discovery is one of STAC 1.1.0, and a broken one is not")
else:
    raise SystemExit("the schema lets a broken item pass")
