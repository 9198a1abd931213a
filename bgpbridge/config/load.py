"""The configuration file to a Config: models first, then what only the whole can tell.

Complaints of the models, of the cross checks and of the policy files are raised together, so that one run of
`bgpbridge check` shows everything. Secrets are not read here (`check` and the speaker do that), and no file is
opened but ours and the policies'.
"""

from __future__ import annotations

from pathlib import Path

from bgpbridge.config.checks import cross_check, import_names
from bgpbridge.config.model import Config
from bgpbridge.documents import (
    Document,
    Problem,
    blank_values,
    errors_of,
    parse,
    raise_errors,
    raise_problems,
    read_text,
    validate,
)
from bgpbridge.errors import DocumentError
from bgpbridge.policy.model import PolicySet
from bgpbridge.policy.overrides import unknown_names
from bgpbridge.policy.parse import load_policies
from bgpbridge.policy.schema import PolicyFile

__all__ = ["load_changed", "load_config", "loads_config"]


def load_config(path: Path, instead: Path | None = None) -> Config:
    """The file, checked, with its policies. Raises DocumentError with everything that is wrong. `instead` is a policy
    file to be read in place of the one of the same name, or beside the others when there is none."""
    return loads_config(read_text(path), path, instead)


def loads_config(text: str, path: Path, instead: Path | None = None) -> Config:
    """The same from text; `path` names it, and its folder is where relative paths begin."""
    document = parse(text, str(path))
    raise_problems(document, blank_values(document))
    config, problems = validate(document.data, Config, {"folder": path.parent})
    if config is None:
        raise_problems(document, [p for p in problems if not _inherited(p, document)])
        raise AssertionError("a refused model without a problem")
    for index, peer in enumerate(config.peers):
        peer.set_place(document.place(("peers", index, "name")))
    problems = cross_check(config, document)
    files, missing = policy_files(config)
    if instead is not None:
        files = [file for file in files if file.name != instead.name] + [instead]
    policies, errors = _policies(files, complete=not missing)
    if policies is not None:
        problems += import_names(config, policies)
        names = [peer.name for peer in config.peers]
        errors += unknown_names(policies.overrides, policies.groups, names)
    raise_errors([*errors_of(document, [*problems, *missing]), *errors])
    assert policies is not None
    return config.loaded(policies, path)


def load_changed(running: Path, file: Path | None = None) -> Config:
    """What a change would make of the configuration: `file` is a whole configuration, or a policy file that comes
    into the one that runs; None is that one as it stands on disk. Raises DocumentError."""
    if file is None:
        return load_config(running)
    keys = parse(read_text(file), str(file)).data
    policy = isinstance(keys, dict) and set(keys) <= set(PolicyFile.model_fields)
    if policy and not (isinstance(keys.get("policies"), list)):
        return load_config(running, file)
    return load_config(file)


def policy_files(config: Config) -> tuple[list[Path], list[Problem]]:
    """The files that `policies` names, globs written out; one that finds nothing is a problem."""
    files: list[Path] = []
    problems: list[Problem] = []
    for index, pattern in enumerate(config.policies):
        found = [pattern]
        if any(mark in str(pattern) for mark in "*?["):
            found = sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
        if not found or not all(path.exists() for path in found):
            mend = "paths that do not begin with / count from the folder of this file"
            problems.append(Problem(("policies", index), f"there is no policy file {pattern}", mend=mend))
        files += [path for path in found if path not in files]
    return files, problems


def _policies(files: list[Path], *, complete: bool) -> tuple[PolicySet | None, list[DocumentError]]:
    """The policies, or the errors in their files; neither when a file is missing, which is said already."""
    if not complete:
        return None, []
    try:
        return load_policies(files), []
    except DocumentError as error:
        return None, [error]


def _inherited(problem: Problem, document: Document) -> bool:
    """True for a complaint about a peer's key that came from `peer_defaults`: it is already made there."""
    path = problem.path
    if len(path) < 3 or path[0] != "peers" or document.has(path[:3]):
        return False
    return document.has(("peer_defaults", path[2]))
