"""Whose a table is: the id of the state that fills it stands in the metadata of its schema.

Two data folders that publish into one table would overwrite each other, each of them well by its own account. So a
table is made with the mark, every version keeps it, and whoever is not its owner is refused before anything is written.
"""

from __future__ import annotations

from voyage_jobs.table.engine import open_dataset, open_writing, table_path
from voyage_jobs.table.health import schema_of_table
from voyage_jobs.table.schema import OWNER, owner_in
from voyage_jobs.table.sync import Syncer


def owner_of(uri: str, name: str) -> str | None:
    """The id of the state that the table belongs to, empty where it carries none.

    None if there is no table of ours that can be read.
    """
    found = schema_of_table(uri, name)
    return None if found is None else owner_in(found)


def mark(uri: str, name: str, owner: str) -> None:
    """Let the table carry this id: one commit that changes no row, durable on return. Doing it twice does no harm."""
    path = table_path(uri, name)
    dataset = open_dataset(path)
    if owner_in(dataset.schema) != owner:
        with open_writing(path):
            dataset.update_schema_metadata({OWNER: owner})
    Syncer(path).sync()
