/* SPDX-License-Identifier: GPL-2.0-only */
/* Later kernels want to be told what older ones take for granted. */
#ifndef KTCP_COMPAT_WORKQUEUE_H
#define KTCP_COMPAT_WORKQUEUE_H

#include <linux/workqueue.h>

/* Work runs on the CPU that queues it. */
#ifndef KTCP_HAVE_WQ_PERCPU
#define WQ_PERCPU 0
#endif

#endif /* KTCP_COMPAT_WORKQUEUE_H */
