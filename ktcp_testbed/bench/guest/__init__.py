# SPDX-License-Identifier: GPL-2.0-only
"""What runs inside the guest; needs nothing but Python and the packages of its image.

Only the standard library, and nothing of the rest of ktcp_testbed, which is not there.
"""
