# SPDX-License-Identifier: GPL-2.0-only
"""What runs in the guest of a rehearsal. It stands alone: the guest has nothing but Python."""
