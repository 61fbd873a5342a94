# SPDX-License-Identifier: GPL-2.0-only
"""Running Ansible: where our playbooks are, with which environment, and what came of it.

The only package that knows ansible-runner. Results are data; printing is the caller's.
"""
