# SPDX-License-Identifier: GPL-2.0-only
"""The commands of the test bed, in addition to those of ``ktcp-ops``."""
