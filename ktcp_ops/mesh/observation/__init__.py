# SPDX-License-Identifier: GPL-2.0-only
"""What is seen of a mesh: state, rates, round-trip times, what paths gain."""
