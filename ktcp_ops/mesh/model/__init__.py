# SPDX-License-Identifier: GPL-2.0-only
"""The mesh as data: what its inventory may say, typed and complete."""
