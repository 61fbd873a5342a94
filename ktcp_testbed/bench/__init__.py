# SPDX-License-Identifier: GPL-2.0-only
"""The evaluation of the paper, in one guest that runs in virtual time."""
