# SPDX-License-Identifier: GPL-2.0-only
"""What runs inside the guest; it needs only Python and the packages of the guest's image.

It uses the standard library only: the rest of ktcp_testbed is not in the guest.
"""
