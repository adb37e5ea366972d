"""Text for training: files to documents to tokens to rows, the held-out part, and the order in which rows are read."""

from trainer.data.dataset import Dataset, load, stream
from trainer.data.entropy import entropies
from trainer.data.order import Order
from trainer.data.stream import IGNORED, Batch, Stream
from trainer.data.tokens import Indices

__all__ = ["IGNORED", "Batch", "Dataset", "Indices", "Order", "Stream", "entropies", "load", "stream"]
