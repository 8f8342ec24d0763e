"""The recommender: a SavedModel, and records of 10 products in Avro."""

from __future__ import annotations

import random
from pathlib import Path

from models.records.record_type import RecordType

PRODUCTS_A_RECORD = 10
USERS, PRODUCTS, WIDTH = 1_000, 300, 16
INPUTS = {"users": ("user",)}


def save_model(folder: Path, version: int = 1, megabytes: int = 0) -> Path:
    """Saves a recommender of user and product embeddings; `users` and `products` [n, 1] to `predictions` [n, 1].

    `megabytes` adds weights of this size.
    """
    import tensorflow as tf

    class Recommender(tf.Module):
        """The dot product of two embeddings, through a sigmoid."""

        def __init__(self) -> None:
            super().__init__()
            chance = tf.random.Generator.from_seed(version)
            self.users = tf.Variable(chance.normal([USERS, WIDTH]))
            self.products = tf.Variable(chance.normal([PRODUCTS, WIDTH]))
            self.ballast = tf.Variable(chance.normal([megabytes * 250_000 + 1]))

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 1], tf.float32, name="users"),
                tf.TensorSpec([None, 1], tf.float32, name="products"),
            ]
        )
        def score(self, users: tf.Tensor, products: tf.Tensor) -> dict[str, tf.Tensor]:
            """One prediction per pair."""
            user = tf.gather(self.users, tf.cast(users[:, 0], tf.int32))
            product = tf.gather(self.products, tf.cast(products[:, 0], tf.int32))
            score = tf.reduce_sum(user * product, axis=1, keepdims=True) + 0.0 * self.ballast[0]
            return {"predictions": tf.sigmoid(score)}

    model = Recommender()
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.score})
    return folder


def records(count: int, seed: int = 0) -> list[bytes]:
    """Encoded records of 10 products."""
    codec = RecordType.named("recommender").codec
    chance = random.Random(seed)
    distinct = [
        codec.encode(
            {
                "user": chance.randrange(USERS),
                "products": chance.sample(range(PRODUCTS), PRODUCTS_A_RECORD),
                "dataType": "recommender",
            }
        )
        for _ in range(min(count, 10_000))
    ]
    return [distinct[place % len(distinct)] for place in range(count)]
