# SPDX-License-Identifier: GPL-2.0-only
"""Virtual machines to try a mesh in: images, guests, the links between them."""
