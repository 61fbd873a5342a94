/* SPDX-License-Identifier: GPL-2.0-only */
/* hex2bin() had no header of its own once. */
#ifndef KTCP_COMPAT_HEX_H
#define KTCP_COMPAT_HEX_H

#if __has_include(<linux/hex.h>)
#include <linux/hex.h>
#else
#include <linux/kernel.h>
#endif

#endif /* KTCP_COMPAT_HEX_H */
