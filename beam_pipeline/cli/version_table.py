"""The table of `beam-serving models list`."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from models.model_topic.publisher import ListedVersion


def version_table(versions: list[ListedVersion]) -> Table:
    """A row for each version, with the location of its model."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("name", "version", "state", "type", "data type", "published"):
        table.add_column(column, no_wrap=True)
    for column in ("where", "description"):
        table.add_column(column, overflow="fold")
    for one in versions:
        descriptor = one.descriptor
        moment = datetime.datetime.fromtimestamp(descriptor.published_at / 1000, datetime.timezone.utc)
        table.add_row(
            descriptor.model_name,
            str(descriptor.model_version),
            one.state,
            descriptor.model_type,
            descriptor.data_type,
            f"{moment:%m-%d %H:%M:%S}",
            f"in the topic, offset {one.offset}" if one.inline else descriptor.model_source_location or "",
            descriptor.description or "",
        )
    return table
