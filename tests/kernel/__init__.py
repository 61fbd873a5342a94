# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel module must do, tested in a guest over network namespaces."""
