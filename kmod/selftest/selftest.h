/* SPDX-License-Identifier: GPL-2.0-only */
/* Tests that run inside a kernel, without a network. */
#ifndef KTCP_SELFTEST_H
#define KTCP_SELFTEST_H

int ktcp_selftest_magazine(void);
int ktcp_selftest_record(void);
int ktcp_selftest_use_window(void);

#endif /* KTCP_SELFTEST_H */
