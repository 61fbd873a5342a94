# SPDX-License-Identifier: GPL-2.0-only
"""The commands of the test bed, beside those of ``ktcp-ops``."""
