/* SPDX-License-Identifier: GPL-2.0-only */
/* The file thread_pool of procfs. */
#ifndef KTCP_THREAD_MARKS_H
#define KTCP_THREAD_MARKS_H

struct ktcp_proc_file;

extern const struct ktcp_proc_file ktcp_thread_pool_file;

#endif /* KTCP_THREAD_MARKS_H */
