# SPDX-License-Identifier: GPL-2.0-only
"""A mesh: as data, what is done to it, and what is seen of it."""
