"""Which days a detector learns from, and which it is judged on."""

from collections.abc import Sequence

from tapewatch.market.instruments import Partition


def split_days(partitions: Sequence[Partition], validation_share: float) -> tuple[list[Partition], list[Partition]]:
    """The earlier days for training and the later ones for validation. Raises ValueError if fewer than two days."""
    days = sorted({partition.date for partition in partitions})
    if len(days) < 2:
        raise ValueError(
            f"training needs features of at least two days, one to train and one to validate; the lake has "
            f"{len(days)}: materialize more days of labels/training_set"
        )
    first_validation = days[-max(1, min(round(len(days) * validation_share), len(days) - 1))]
    learn = [partition for partition in partitions if partition.date < first_validation]
    return learn, [partition for partition in partitions if partition.date >= first_validation]
