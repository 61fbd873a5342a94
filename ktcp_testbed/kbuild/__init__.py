# SPDX-License-Identifier: GPL-2.0-only
"""Compiling the kernel module, with the compiler and headers of each release."""
