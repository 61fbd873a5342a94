/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel threads that are ready before they are needed. */
#ifndef KTCP_THREAD_POOL_H
#define KTCP_THREAD_POOL_H

#include <linux/types.h>

struct ktcp_proc_file;

typedef void (*ktcp_thread_fn)(void *arg);

int ktcp_thread_pool_init(void);
void ktcp_thread_pool_exit(void);

int ktcp_thread_pool_take(ktcp_thread_fn fn, void *arg);
int ktcp_thread_pool_run(bool pooled, ktcp_thread_fn fn, void *arg);

extern const struct ktcp_proc_file ktcp_thread_pool_file;

#endif /* KTCP_THREAD_POOL_H */
