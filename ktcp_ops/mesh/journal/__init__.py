# SPDX-License-Identifier: GPL-2.0-only
"""What is written down on the control node: who changed what, and what Ansible printed."""
