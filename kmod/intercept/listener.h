/* SPDX-License-Identifier: GPL-2.0-only */
/* Ports on which clients' flows and other relays' connections come in. */
#ifndef KTCP_LISTENER_H
#define KTCP_LISTENER_H

struct ktcp_net;
struct ktcp_proc_file;

int ktcp_listener_init(void);
void ktcp_listener_exit(void);
void ktcp_listener_tune_all(struct ktcp_net *ktcp);
void ktcp_listener_close_all(struct ktcp_net *ktcp);

extern const struct ktcp_proc_file ktcp_listeners_file;

#endif /* KTCP_LISTENER_H */
