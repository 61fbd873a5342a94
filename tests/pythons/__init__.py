# SPDX-License-Identifier: GPL-2.0-only
"""Runs tests of the operator's wheel with other Pythons and other versions of its dependencies."""
