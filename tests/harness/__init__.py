# SPDX-License-Identifier: GPL-2.0-only
"""Builds the kernel module and runs tests/kernel in a guest."""
