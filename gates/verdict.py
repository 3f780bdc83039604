# SPDX-License-Identifier: GPL-2.0
"""What a gate is: a function that yields a verdict on each thing that it judges."""
from collections.abc import Callable, Iterator

from common.tally import Good

Verdict = tuple[str, Good, str]		# (what, good or None for skipped, note)
Gate = Callable[[], Iterator[Verdict]]
