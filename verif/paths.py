"""Where the checkout is."""

from pathlib import Path

__all__ = ["ROOT"]

#: Folder of the checkout.
ROOT = Path(__file__).resolve().parent.parent
