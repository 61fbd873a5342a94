# SPDX-License-Identifier: GPL-2.0-only
"""KTCP operations: the mesh as data, its rollout, and what is seen of it.

``__version__`` is the version of the whole project; every other mention
(kernel module, DKMS package, collection) is held equal to it by a test.
"""

__version__ = "0.2.0"
