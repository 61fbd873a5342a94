/* SPDX-License-Identifier: GPL-2.0-only */
/* Takes over the callbacks of a socket, and gives them back. */
#ifndef KTCP_CALLBACKS_H
#define KTCP_CALLBACKS_H

struct sock;

/**
 * struct ktcp_callbacks - Callbacks of a socket; NULL for those not taken over
 * @data_ready: bytes have come, or FIN, or a connection to accept
 * @write_space: there is room to send
 * @state_change: connected, FIN, closed
 * @error_report: RST, or an error
 */
struct ktcp_callbacks {
	void (*data_ready)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*error_report)(struct sock *sk);
};

void ktcp_callbacks_take(struct sock *sk, const struct ktcp_callbacks *ours,
			 void *data, struct ktcp_callbacks *own);
void ktcp_callbacks_give_back(struct sock *sk,
			      const struct ktcp_callbacks *ours,
			      const void *data,
			      const struct ktcp_callbacks *own);
void *ktcp_callbacks_enter(struct sock *sk);
void ktcp_callbacks_leave(struct sock *sk);

#endif /* KTCP_CALLBACKS_H */
