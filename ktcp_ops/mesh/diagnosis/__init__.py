# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with a mesh: paths that fail, hosts that are set up wrongly."""
