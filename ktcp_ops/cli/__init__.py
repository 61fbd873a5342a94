# SPDX-License-Identifier: GPL-2.0-only
"""The command line: thin; it parses options, calls the library and prints."""
