# SPDX-License-Identifier: GPL-2.0-only
"""The rehearsal behind `mesh rehearse`: a change tried on namespaces before it touches a host."""
