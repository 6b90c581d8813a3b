"""Files of the Hugging Face hub.

They are fetched by huggingface_hub, which obeys ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_OFFLINE``, resumes
transfers and stores only complete files.
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
"""Address of the hub, from ``HF_ENDPOINT``."""

ANSWER_SECONDS = float(constants.HF_HUB_ETAG_TIMEOUT)
"""Time-out of a request to the hub, in seconds; set by ``HF_HUB_ETAG_TIMEOUT``."""

PUSH_SECONDS = 300.0
"""Time-out of an upload, in seconds: the hub is slow over a large commit."""


def _client(seconds: float) -> Any:
    """Return the hub's own client with a time-out for every request."""
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
    """Whether the local hub cache has all files of at least one pattern."""
    for pattern in patterns:  # one by one: the client requires all files that the patterns match
        try:
            folder = snapshot_download(
                repository, repo_type=kind, allow_patterns=[pattern], local_files_only=True
            )
        except Exception:  # noqa: S112 -- the client has many errors for missing files
            continue
        if any(Path(folder).glob(pattern)):
            return True
    return False


def remote_bytes(repository: str, kind: str, patterns: Sequence[str]) -> int:
    """Return the bytes of a repository's files of the first pattern that matches any.

    Raises:
        InputError: The hub is unreachable, or lacks the repository.
    """
    try:
        info = HfApi().repo_info(repository, repo_type=kind, files_metadata=True)
    except Exception as error:
        raise InputError(
            f"{repository}: {ENDPOINT} does not give its size: {reason_of(error)}; check the network"
        ) from None
    siblings = getattr(info, "siblings", None) or []
    for pattern in patterns:
        sizes = [file.size or 0 for file in siblings if fnmatch(file.rfilename, pattern)]
        if sizes:
            return sum(sizes)
    return 0


def fetch_dataset(repository: str, pattern: str) -> tuple[Path, ...]:
    """Return the files of a data set that match a pattern, fetched into the hub's cache if missing.

    Raises:
        InputError: The hub is unreachable and files are missing, or no file matches.
    """
    try:
        with _announced(f"corpus {repository}", repository, "dataset", (pattern,)):
            folder = Path(snapshot_download(repository, repo_type="dataset", allow_patterns=[pattern]))
    except Exception as error:  # errors of hub, connection and disk have no common base
        raise InputError(
            f"corpus {repository}: {_absence(error)}, or name files of your own in data.corpus"
        ) from None
    files = tuple(sorted(folder.glob(pattern)))
    if not files:
        raise InputError(f"corpus {repository}: must contain files {pattern}, but the hub has none")
    return files


def fetch_model(name: str, what: str, patterns: Sequence[str] = TEXT_FILES, *, weights: bool = True) -> Path:
    """Return the folder of a model: `name` itself, or a snapshot of that hub repository.

    Args:
        name: Folder, or hub repository.
        what: Name of the model in messages.
        patterns: Patterns of the files to fetch.
        weights: Also fetch weights: safetensors if there are any, else pickled ones.

    Raises:
        InputError: The model is neither; the message names model and host.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        large = (SAFE_WEIGHTS, PICKLED_WEIGHTS) if weights else ()
        with _announced(what, name, "model", large):
            folder = Path(snapshot_download(name, allow_patterns=list(patterns)))
            # one file of a commit is enough; if it is cached, no request is needed
            if weights and not any((folder / file).is_file() for file in large):
                # by the snapshot's commit: the repository may change between two calls
                try:
                    hf_hub_download(name, SAFE_WEIGHTS, revision=folder.name)
                except EntryNotFoundError:
                    hf_hub_download(name, PICKLED_WEIGHTS, revision=folder.name)
    except RepositoryNotFoundError:
        raise InputError(
            f"{what}: is not a folder, and {ENDPOINT} has no public repository of this name"
        ) from None
    except Exception as error:  # errors of hub, connection and disk have no common base
        raise InputError(
            f"{what}: is not a folder, and {_absence(error)}, or give a folder that contains it"
        ) from error
    return folder


@contextmanager
def _announced(what: str, repository: str, kind: str, patterns: Sequence[str]) -> Iterator[None]:
    """Print name and size of a block's download, unless the files are cached or the run is offline."""
    if not patterns or constants.HF_HUB_OFFLINE or is_cached(repository, kind, patterns):
        yield
        return
    try:
        size = decimal(remote_bytes(repository, kind, patterns))
    except InputError:
        size = "size unknown"  # the block reports the error
    console.print(f"Fetching {what}: {size} from {ENDPOINT}")
    with waiting(f"Fetching {what}"):
        yield


def _absence(error: Exception) -> str:
    """Return why a file of the hub is missing, and the remedy."""
    if constants.HF_HUB_OFFLINE:
        return (
            f"not among the hub's files in {constants.HF_HUB_CACHE}; --offline (HF_HUB_OFFLINE) forbids the "
            f"download: prepare it once with a network"
        )
    return f"{ENDPOINT} failed: {reason_of(error)}; check the network"


def refuse_repository(name: str) -> None:
    """Refuse an invalid name of a model repository.

    Raises:
        InputError: The name is invalid.
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise InputError(f"--push-to must be a repository of the hub, owner/name, got {name!r}") from None


def push_folder(folder: Path, repository: str) -> str:
    """Upload a folder to a model repository, created if missing; return its address.

    Raises:
        InputError: The hub is unreachable, or refuses the upload.
    """
    api = HfApi()
    set_client_factory(partial(_client, PUSH_SECONDS))
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Export of Themo")
    except Exception as error:  # errors of hub, connection and disk have no common base
        raise InputError(
            f"--push-to {repository}: {ENDPOINT} refused the upload: {reason_of(error)}; check the network "
            f"and HF_TOKEN. The export is complete in {folder}; to retry: "
            + shlex.join(["hf", "upload", repository, str(folder), "."])
        ) from error
    return str(address)
