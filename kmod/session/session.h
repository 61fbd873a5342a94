/* SPDX-License-Identifier: GPL-2.0-only */
/* Turns an accepted connection into a split with two connected sides. */
#ifndef KTCP_SESSION_H
#define KTCP_SESSION_H

#include "datapath/split.h"

struct ktcp_net;
struct socket;

void ktcp_session_start(struct ktcp_net *ktcp, enum ktcp_role role,
			struct socket *near);
void ktcp_session_run_early(void *arg);
void ktcp_session_idle(struct ktcp_net *ktcp, struct socket *near,
		       const struct ktcp_leg *leg);

extern const struct ktcp_proc_file ktcp_drain_file;

#endif /* KTCP_SESSION_H */
