# SPDX-License-Identifier: GPL-2.0-only
"""From the inventories that a user names to a checked mesh."""
