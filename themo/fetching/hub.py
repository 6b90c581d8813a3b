"""Files of the Hugging Face hub.

They are fetched by huggingface_hub, which minds ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_OFFLINE``, resumes
a cut transfer, and counts a file only when it is whole.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, set_client_factory, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from huggingface_hub.utils._http import default_client_factory
from rich.filesize import decimal

from themo.errors import InputError, reason_of
from themo.files.weights import PICKLED_WEIGHTS, SAFE_WEIGHTS
from themo.process.progress import console, waiting

TEXT_FILES = ("*.json", "*.txt", "*.model", "*.spm")
"""Configurations and tokenizers in a repository of the hub, of the M-CLIP models and of Marian's."""


ENDPOINT = constants.ENDPOINT
"""The hub's address, as ``HF_ENDPOINT`` has it."""

ANSWER_SECONDS = float(constants.HF_HUB_ETAG_TIMEOUT)
"""A hub that sends nothing for so long after a question is given up; ``HF_HUB_ETAG_TIMEOUT`` sets it."""

PUSH_SECONDS = 300.0
"""The same while files are brought there: it takes its time over a large commit."""


def _client(seconds: float) -> Any:
    """The hub's own client, whose questions, most of which have no time-out, have this one."""
    client = default_client_factory()

    def limit(request: Any) -> None:
        given = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            of: given.get(of) or seconds for of in ("connect", "read", "write", "pool")
        }

    hooks = client.event_hooks
    client.event_hooks = {**hooks, "request": [*hooks["request"], limit]}
    return client


set_client_factory(partial(_client, ANSWER_SECONDS))


def is_cached(repository: str, kind: str, patterns: Sequence[str]) -> bool:
    """Whether all files of any of some patterns are in the hub's cache on this machine."""
    for pattern in patterns:  # one by one: the client asks for all files that they match
        try:
            folder = snapshot_download(
                repository, repo_type=kind, allow_patterns=[pattern], local_files_only=True
            )
        except Exception:  # noqa: S112 -- the client has one error for each way of not being there
            continue
        if any(Path(folder).glob(pattern)):
            return True
    return False


def remote_bytes(repository: str, kind: str, patterns: Sequence[str]) -> int:
    """Bytes of a repository's files of the first pattern that it has any of, as the hub tells.

    Raises:
        InputError: The hub cannot be reached, or has no such repository.
    """
    try:
        info = HfApi().repo_info(repository, repo_type=kind, files_metadata=True)
    except Exception as error:
        raise InputError(
            f"{repository}: {ENDPOINT} does not tell its size: {reason_of(error)}; check the network"
        ) from None
    siblings = getattr(info, "siblings", None) or []
    for pattern in patterns:
        sizes = [file.size or 0 for file in siblings if fnmatch(file.rfilename, pattern)]
        if sizes:
            return sum(sizes)
    return 0


def fetch_dataset(repository: str, pattern: str) -> tuple[Path, ...]:
    """Files of a data set that match a pattern, in the hub's own cache; fetched where they are not there.

    Raises:
        InputError: The hub cannot be reached and the files are not there, or there are none.
    """
    try:
        with _announced(f"corpus {repository}", repository, "dataset", (pattern,)):
            folder = Path(snapshot_download(repository, repo_type="dataset", allow_patterns=[pattern]))
    except Exception as error:  # the hub's, the connection's and the disk's have no common base
        raise InputError(
            f"corpus {repository}: {_absence(error)}, or name files of your own in data.corpus"
        ) from None
    files = tuple(sorted(folder.glob(pattern)))
    if not files:
        raise InputError(f"corpus {repository}: must hold files {pattern}, the hub has none")
    return files


def fetch_model(name: str, what: str, patterns: Sequence[str] = TEXT_FILES, *, weights: bool = True) -> Path:
    """Folder of a model: `name` itself, or else a snapshot of that repository of the hub.

    Args:
        name: Folder, or repository of the hub.
        what: How messages call the model.
        patterns: Files of the repository that are fetched.
        weights: Fetch weights as well: safetensors where there are any, else the pickled ones.

    Raises:
        InputError: Neither; the message names model and host.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        large = (SAFE_WEIGHTS, PICKLED_WEIGHTS) if weights else ()
        with _announced(what, name, "model", large):
            folder = Path(snapshot_download(name, allow_patterns=list(patterns)))
            # one of a commit's files is enough, and where it is the host need not be asked again
            if weights and not any((folder / file).is_file() for file in large):
                # by the snapshot's own commit: the repository may change between two calls
                try:
                    hf_hub_download(name, SAFE_WEIGHTS, revision=folder.name)
                except EntryNotFoundError:
                    hf_hub_download(name, PICKLED_WEIGHTS, revision=folder.name)
    except RepositoryNotFoundError:
        raise InputError(
            f"{what}: is no folder, and {ENDPOINT} has no such repository, or a closed one"
        ) from None
    except Exception as error:  # the hub's, the connection's and the disk's have no common base
        raise InputError(
            f"{what}: is no folder, and {_absence(error)}, or name a folder that holds it"
        ) from error
    return folder


@contextmanager
def _announced(what: str, repository: str, kind: str, patterns: Sequence[str]) -> Iterator[None]:
    """Say what a block fetches, and how much, unless it is here, or may not be fetched."""
    if not patterns or constants.HF_HUB_OFFLINE or is_cached(repository, kind, patterns):
        yield
        return
    try:
        size = decimal(remote_bytes(repository, kind, patterns))
    except InputError:
        size = "size unknown"  # the block tells what is wrong
    console.print(f"Fetching {what}: {size} from {ENDPOINT}")
    with waiting(f"Fetching {what}"):
        yield


def _absence(error: Exception) -> str:
    """Why something of the hub is not here, and what to do."""
    if constants.HF_HUB_OFFLINE:
        return (
            f"not among the hub's files in {constants.HF_HUB_CACHE}; --offline (HF_HUB_OFFLINE) forbids to "
            f"fetch it: prepare it once with a network"
        )
    return f"{ENDPOINT} does not give it: {reason_of(error)}; check the network"


def refuse_repository(name: str) -> None:
    """Refuse what cannot be a model's repository.

    Raises:
        InputError: It cannot.
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise InputError(f"--push-to must be a repository of the hub, owner/name, got {name!r}") from None


def push_folder(folder: Path, repository: str) -> str:
    """Bring a folder's files into a model's repository, made if there is none; returns its address.

    Raises:
        InputError: The hub cannot be reached, or refuses it.
    """
    api = HfApi()
    set_client_factory(partial(_client, PUSH_SECONDS))
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Export of Themo")
    except Exception as error:  # the hub's, the connection's and the disk's have no common base
        raise InputError(
            f"--push-to {repository}: {ENDPOINT} does not take it: {reason_of(error)}; check the network and "
            f"HF_TOKEN. The export is whole in {folder}; to try again: "
            + shlex.join(["hf", "upload", repository, str(folder), "."])
        ) from error
    return str(address)
