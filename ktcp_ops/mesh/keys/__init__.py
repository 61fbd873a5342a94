# SPDX-License-Identifier: GPL-2.0-only
"""From one pre-shared key to the next."""
