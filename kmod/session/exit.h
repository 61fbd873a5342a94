/* SPDX-License-Identifier: GPL-2.0-only */
/* Says which targets this relay connects to for others. */
#ifndef KTCP_EXIT_H
#define KTCP_EXIT_H

#include "lib/address.h"

struct ktcp_net;
struct ktcp_proc_file;

bool ktcp_exit_allows(struct ktcp_net *ktcp, const union ktcp_addr *target);

extern const struct ktcp_proc_file ktcp_exits_file;

#endif /* KTCP_EXIT_H */
