# SPDX-License-Identifier: GPL-2.0
"""Unit tests of the tooling; unittest finds every test_*.py here."""
