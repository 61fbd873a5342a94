// SPDX-License-Identifier: GPL-2.0-only
/* Loading this module runs all self-tests; results are in the kernel's log. */

#include "selftest/selftest.h"

#include <linux/module.h>

static int __init selftest_init(void)
{
	return ktcp_selftest_use_window() ?: ktcp_selftest_record() ?:
	       ktcp_selftest_magazine();
}

static void __exit selftest_exit(void)
{
}

module_init(selftest_init);
module_exit(selftest_exit);
MODULE_DESCRIPTION("KTCP: self-tests");
MODULE_LICENSE("GPL");
