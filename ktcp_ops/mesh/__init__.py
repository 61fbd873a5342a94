# SPDX-License-Identifier: GPL-2.0-only
"""The mesh as data: its description, its checked model, its plan and its state."""
