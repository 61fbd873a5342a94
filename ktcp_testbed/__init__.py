# SPDX-License-Identifier: GPL-2.0-only
"""What tries and measures KTCP: a lab of virtual machines, the bench, the demonstration.

It runs from a checkout, where it finds the module's source. It may use ``ktcp_ops``, but not
the other way round.
"""
