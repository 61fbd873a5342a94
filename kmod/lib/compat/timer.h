/* SPDX-License-Identifier: GPL-2.0-only */
/* Timer functions by the names of later kernels. */
#ifndef KTCP_COMPAT_TIMER_H
#define KTCP_COMPAT_TIMER_H

#include <linux/timer.h>

#ifndef timer_container_of
#define timer_container_of from_timer
#endif

#ifndef KTCP_HAVE_TIMER_DELETE_SYNC
#define timer_delete_sync del_timer_sync
#endif

#endif /* KTCP_COMPAT_TIMER_H */
