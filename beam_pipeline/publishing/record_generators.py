"""Endless streams of records for the bundled schemas, like those of the reference system's generators."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beam_pipeline.publishing.wine_data import MEASURES, read_wines

if TYPE_CHECKING:
    from models.records.record_type import Row

USERS = 1_000
PRODUCTS = 300
MOST_PRODUCTS = 30


@dataclass(frozen=True)
class Generated:
    """A record and the key of its message."""

    key: bytes
    row: Row


def recommender(seed: int) -> Iterator[Generated]:
    """Yields records with a user id below 1,000 and 0 to 30 distinct product ids below 300."""
    chance = random.Random(seed)
    while True:
        user = chance.randrange(USERS)
        products = chance.sample(range(PRODUCTS), chance.randint(0, MOST_PRODUCTS))
        yield Generated(str(user).encode(), {"user": user, "products": products, "dataType": "recommender"})


def transaction(seed: int) -> Iterator[Generated]:
    """Yields card transactions with 28 standard normal components and an amount."""
    chance = random.Random(seed)
    for number in itertools.count():
        identity = f"transaction-{number}"
        components = {f"v{place}": chance.gauss(0.0, 1.0) for place in range(1, 29)}
        amount = round(chance.lognormvariate(3.0, 1.5), 2)
        yield Generated(identity.encode(), {"transaction_id": identity, **components, "amount": amount})


def wine(seed: int) -> Iterator[Generated]:
    """Yields the rows of the red-wine data over and over, shuffled each time; the lot id is ROUND-ROW."""
    rows = [wine.measures for wine in read_wines()]  # without the quality, which is the label that models predict
    order = list(range(len(rows)))
    chance = random.Random(seed)
    for lot in itertools.count():
        chance.shuffle(order)
        for place in order:
            identity = f"{lot}-{place}"
            features = dict(zip(MEASURES, rows[place], strict=True))
            yield Generated(identity.encode(), {"lot_id": identity, **features})


@dataclass(frozen=True)
class RecordGenerator:
    """The generator of a schema's records.

    Attributes:
      records: takes a seed and yields records.
      rate: records per second in the reference system.
    """

    records: Callable[[int], Iterator[Generated]]
    rate: float


GENERATORS = {
    "recommender": RecordGenerator(recommender, 1_000.0),
    "wine": RecordGenerator(wine, 1.0),
    "transaction": RecordGenerator(transaction, 285.0),
}
