/* SPDX-License-Identifier: GPL-2.0-only */
/* In older kernels hex2bin() has no header of its own. */
#ifndef KTCP_COMPAT_HEX_H
#define KTCP_COMPAT_HEX_H

#ifdef KTCP_HAVE_HEX_H
#include <linux/hex.h>
#else
#include <linux/kernel.h>
#endif

#endif /* KTCP_COMPAT_HEX_H */
