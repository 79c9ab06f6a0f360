#!/usr/bin/env python3
"""Stands in for `gh` while a pull request is simulated: the few calls that the workflows make, on a folder (FORGE) as the code host.

Anything else is an error, so that a workflow cannot ask for what nobody foresaw. jq expressions go through the real jq.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
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


def options(words, flags):
    """Words without a name, and those that have one."""
    plain, named = [], {}
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            if word not in flags:
                sys.exit(f"fake gh: `{word}`")
            named[word] = words.pop(0)
        else:
            plain.append(word)
    return plain, named


def download(words):
    plain, named = options(words, {"--repo", "--name", "--dir"})
    archive = forge / (named["--name"].removeprefix("gristmill-") + ".zip")
    if plain != ["5"] or not archive.exists():
        sys.exit("fake gh: no valid artifacts found to download")
    with zipfile.ZipFile(archive) as found:
        found.extractall(named["--dir"])


def issue(words):
    verb = words.pop(0)
    plain, named = options(words, {"--repo", "--state", "--author", "--limit", "--json", "--title", "--body-file", "--comment"})
    issues = load("issues.json")
    text = Path(named["--body-file"]).read_text() if "--body-file" in named else None
    if verb == "list" and named["--state"] == "open" and named["--author"] == "app/github-actions":
        return print(json.dumps([{"number": one["number"], "title": one["title"]} for one in issues if one["state"] == "open"]))
    if verb == "create":
        return save("issues.json", [*issues, {"number": len(issues) + 1, "title": named["--title"], "body": text, "state": "open", "edits": 0}])
    one = next(one for one in issues if [str(one["number"])] == plain)
    if verb == "edit":
        one |= {"body": text, "edits": one["edits"] + 1}
    elif verb == "close":
        one |= {"state": "closed", "comment": named["--comment"]}
    else:
        sys.exit(f"fake gh: issue {verb}")
    return save("issues.json", issues)


def main():
    words = sys.argv[1:]
    verb = words.pop(0) if words else ""
    if verb == "run" and words and words.pop(0) == "download":
        return download(words)
    if verb == "issue":
        return issue(words)
    if verb != "api":
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
