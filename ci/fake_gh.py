#!/usr/bin/env python3
"""Stands in for `gh` while a pull request is simulated: the few calls that the workflows make, on a folder (FORGE) as the code host.

Anything else is an error, so that a workflow cannot ask for what nobody foresaw. jq expressions go through the real jq.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

forge = Path(os.environ["FORGE"])


def load(name):
    path = forge / name
    return json.loads(path.read_text()) if path.exists() else []


def save(name, value):
    (forge / name).write_text(json.dumps(value, indent=1))


def answer(value, jq):
    if jq is None:
        return print(json.dumps(value))
    sys.stdout.write(subprocess.run(["jq", "-r", jq], input=json.dumps(value), text=True, stdout=subprocess.PIPE, check=True).stdout)


def main():
    words = sys.argv[1:]
    if not words or words.pop(0) != "api":
        sys.exit(f"fake gh: {sys.argv[1:]}")
    method, jq, path, fields, paginate = "GET", None, None, {}, False
    while words:
        word = words.pop(0)
        if word == "--method":
            method = words.pop(0)
        elif word == "--jq":
            jq = words.pop(0)
        elif word in ("-f", "--field"):
            name, value = words.pop(0).split("=", 1)
            typed = word == "--field" and value.startswith("@")
            fields[name] = Path(value[1:]).read_text() if typed else value
        elif word == "--input":
            assert words.pop(0) == "-"
            fields = json.load(sys.stdin)
        elif word == "--paginate":
            paginate = True
        elif path is None:
            path = word
        else:
            sys.exit(f"fake gh: `{word}`")
    if method == "GET" and re.fullmatch(r"repos/o/r/pulls", path):
        pulls = [pull for pull in load("pulls.json") if pull["state"] == fields["state"] and pull["label"] == fields["head"]]
        return answer(pulls, jq)
    if method == "GET" and re.fullmatch(r"repos/o/r/actions/runs/\d+/artifacts", path):
        size = (forge / "result.zip").stat().st_size if (forge / "result.zip").exists() else None
        return answer({"artifacts": [{"id": 9, "size_in_bytes": size}] if size else []}, jq)
    if method == "GET" and path == "repos/o/r/actions/artifacts/9/zip":
        return sys.stdout.buffer.write((forge / "result.zip").read_bytes())
    comments = load("comments.json")
    if method == "GET" and path == "repos/o/r/issues/1/comments" and paginate:
        return answer(comments, jq)
    if method == "POST" and path == "repos/o/r/issues/1/comments":
        new = {"id": len(comments) + 1, "user": {"login": "github-actions[bot]"}, "body": fields["body"], "edits": 0}
        save("comments.json", [*comments, new])
        return answer(new, jq)
    if method == "PATCH" and re.fullmatch(r"repos/o/r/issues/comments/\d+", path):
        comment = next(one for one in comments if one["id"] == int(path.rsplit("/", 1)[1]))
        comment |= {"body": fields["body"], "edits": comment["edits"] + 1}
        save("comments.json", comments)
        return answer(comment, jq)
    if method == "POST" and path == "repos/o/r/check-runs":
        assert {"name", "head_sha", "status", "conclusion", "output"} == set(fields), fields
        save("checks.json", [*load("checks.json"), fields])
        return answer(fields, jq)
    sys.exit(f"fake gh: {method} {path}")


main()
