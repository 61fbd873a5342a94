# SPDX-License-Identifier: GPL-2.0-only
"""Whether the parts of a mesh fit together."""
