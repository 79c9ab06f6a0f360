"""Runs one job of a workflow as a runner would: its `run` steps in order, with the environment that its expressions give.

    run_job.py WORKFLOW JOB STATE.json

STATE holds `github`, `vars`, `repository` (a bare git repository), `temp`, `artifacts`. Steps that use an action are stood in for:
checkout clones, upload-artifact zips, credentials are none; the binary is in `temp` already, so it is not installed. Gristmill's own
action is not stood in for: its steps run as `ci/action.yml` has them. Anything else,
and any expression that is not understood, is an error: what is simulated must be what the workflow says.
Exit code: 0, or 1 if a step failed.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from ruamel.yaml import YAML


def lookup(state, path):
    """`github.event.number` in the state; an absent name is empty, as on a runner."""
    value = state
    for name in path.split("."):
        value = value.get(name, "") if isinstance(value, dict) else ""
    return value


def filled(text, state):
    """Text with its `${{ … }}` replaced."""

    def one(match):
        path = match.group(1).strip()
        if not re.fullmatch(r"[a-z_]+(\.[A-Za-z0-9_-]+)+", path):
            sys.exit(f"run_job.py: cannot evaluate `{path}`")
        return str(lookup(state, path))

    return re.sub(r"\$\{\{(.*?)\}\}", one, str(text))


def holds(condition, state, failed):
    """True if a step or job is to run."""
    if condition is None:
        return not failed
    text = str(condition).replace("${{", "").replace("}}", "").strip()
    if text == "!cancelled()":
        return True
    if text.startswith("!cancelled() && "):
        return holds(text.removeprefix("!cancelled() && "), state, False)
    if text == "failure()":
        return failed
    for part in text.split(" && "):
        match = re.fullmatch(r"([a-z0-9_.-]+) (==|!=) '([a-z_]*)'", part)
        if match is None:
            sys.exit(f"run_job.py: cannot evaluate `{text}`")
        if (str(lookup(state, match.group(1))) == match.group(3)) != (match.group(2) == "=="):
            return False
    return not failed


def use(step, state, folder):
    """Stands in for an action."""
    name = step["uses"].split("@")[0].split("/")[-1]
    given = {key: filled(value, state) for key, value in step.get("with", {}).items()}
    if name == "checkout":
        git = ["git", "-C", str(folder)]
        subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
        wanted = ["+refs/heads/*:refs/remotes/origin/*", given["ref"]]
        subprocess.run([*git, "fetch", "--quiet", state["repository"], *wanted], check=True)
        subprocess.run([*git, "checkout", "--quiet", "--detach", given["ref"]], check=True)
    elif name == "upload-artifact":
        path = Path(given["path"])
        with zipfile.ZipFile(Path(state["artifacts"]) / (given["name"].removeprefix("gristmill-") + ".zip"), "w") as archive:
            for file in sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []:
                archive.write(file, file.name)
    elif name != "configure-aws-credentials":
        sys.exit(f"run_job.py: nothing stands in for `{step['uses']}`")


def steps_of(step, state):
    """The step, or what stands for it: those of Gristmill's own action, with what it is given."""
    if "/ci@" not in step.get("uses", ""):
        return [(step, state)]
    action = YAML(typ="safe").load(Path(__file__).with_name("action.yml"))
    given = {key: filled(value, state) for key, value in step["with"].items()}
    unknown = set(given) - set(action["inputs"])
    absent = {key for key, value in action["inputs"].items() if value.get("required")} - set(given)
    if unknown or absent:
        sys.exit(f"run_job.py: the action is given {unknown} and lacks {absent}")
    inputs = {key: str(value.get("default", "")) for key, value in action["inputs"].items()} | given
    return [(inner, state | {"inputs": inputs}) for inner in action["runs"]["steps"]]


def run(step, state, folder, environment):
    """Runs a step's script; gives true if it failed."""
    output = Path(state["temp"]) / "output"
    output.write_text("")
    summary = Path(state["temp"]) / "summary.md"
    own = {name: filled(value, state) for name, value in step.get("env", {}).items()}
    if "${{" in step["run"]:
        sys.exit("run_job.py: an expression in a script")
    shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
    ended = subprocess.run(shell, cwd=folder, env={**environment, **own, "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)})
    if "id" in step:
        pairs = [line.split("=", 1) for line in output.read_text().splitlines()]
        state.setdefault("steps", {})[step["id"]] = {"outputs": dict(pairs)}
    return ended.returncode != 0


def main():
    workflow, name, state = sys.argv[1:]
    document = YAML(typ="safe").load(Path(workflow))
    state = json.loads(Path(state).read_text())
    job = document["jobs"][name]
    state["runner"] = {"temp": state["temp"]}
    if not holds(job.get("if"), state, False):
        return print(f"job {name}: skipped")
    folder = Path(state["temp"]) / "workspace"
    folder.mkdir(exist_ok=True)
    # A runner gives a job nothing of what started it.
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "FORGE") if key in os.environ}
    environment |= {"RUNNER_TEMP": state["temp"], "GITHUB_REPOSITORY": state["github"]["repository"]}
    for source in (document, job):
        environment |= {key: filled(value, state) for key, value in source.get("env", {}).items()}
    state["env"] = environment
    failed = False
    for step, known in [one for step in job["steps"] for one in steps_of(step, state)]:
        if step["name"].startswith("Install gristmill") or not holds(step.get("if"), known, failed):
            continue
        print(f"-- {name}: {step['name']}", flush=True)
        if "uses" in step:
            use(step, known, folder)
        else:
            failed |= run(step, known, folder, environment)
    sys.exit(failed)


main()
