# SPDX-License-Identifier: GPL-2.0-only
"""What is done to a mesh: changes, in one run or wave by wave."""
