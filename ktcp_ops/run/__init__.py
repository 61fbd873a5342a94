# SPDX-License-Identifier: GPL-2.0-only
"""Runs Ansible: finds our playbooks, sets its environment, and gives results as data.

No other package uses ansible-runner. The caller does the printing.
"""
