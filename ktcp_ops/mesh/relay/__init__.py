# SPDX-License-Identifier: GPL-2.0-only
"""What each relay has to hold, and how its module says what it holds."""
