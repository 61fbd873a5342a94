# SPDX-License-Identifier: GPL-2.0-only
"""The demonstration behind `./dev demo`: a mesh rolled out to a lab, and downloads measured."""
