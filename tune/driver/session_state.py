"""The state that the parts of a session share: the search, its record, its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from themo.files.disk_space import Patience
from themo.files.run_folders import STUDY_FILE
from tune.cluster.storage import Storage
from tune.study.search import TRIALS_FOLDER, Search, has_study
from tune.study.study import Study


@dataclass(frozen=True)
class SessionState:
    """A search that this process runs.

    Attributes:
        search: The search; once its data is known, with rungs in sentence pairs.
        study: The record.
        storage: The storage of checkpoints.
        patience: Retries while the disk is full.
    """

    search: Search
    study: Study
    storage: Storage
    patience: Patience

    @classmethod
    def of(cls, search: Search) -> SessionState:
        """Read the record of a search, or begin it.

        Raises:
            InputError: The record is damaged, or `storage_path` is neither a folder nor a URI.
        """
        path, patience, storage = search.folder / STUDY_FILE, Patience(), storage_of(search)
        is_begun = has_study(search.folder)  # also before the first trial, after a warm start
        study = Study.reopen(path, patience) if is_begun else Study(path, search.mode, patience=patience)
        return cls(search, study, storage, patience)


def storage_of(search: Search) -> Storage:
    """The storage of a search's checkpoints: its directory, or its own folder below `storage_path` if set.

    Waits, with a warning, while the storage is unreachable.

    Raises:
        InputError: `storage_path` is neither a folder nor a URI.
    """
    path = search.resources.storage_path
    if path is None:
        return Storage(str(search.folder / TRIALS_FOLDER))
    return Storage.named(path, waits=True) / f"{search.name}-{search.uid}"
