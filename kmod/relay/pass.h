/* SPDX-License-Identifier: GPL-2.0-only */
/* The ticket that a peer gave to this relay, and the uses of it. */
#ifndef KTCP_PASS_H
#define KTCP_PASS_H

#include "relay/handoff.h"

#include <linux/spinlock.h>

struct ktcp_net;
struct socket;

/**
 * struct ktcp_passbook - What is known of a peer's ticket
 * @last: the ticket and its last use
 * @known: there is one
 * @fresh: jiffies of the last sign that it is good
 */
struct ktcp_passbook {
	spinlock_t lock; /* protects all */
	struct ktcp_pass last;
	bool known;
	unsigned long fresh;
};

void ktcp_pass_init(struct ktcp_passbook *book);
int ktcp_pass_resume(struct ktcp_net *ktcp, struct ktcp_passbook *book, u16 key,
		     struct ktcp_pass *pass, struct ktcp_wire_resume *resume);
int ktcp_pass_prove(struct ktcp_net *ktcp, struct ktcp_passbook *book,
		    struct socket *sock, u16 key, struct ktcp_pass *pass);
void ktcp_pass_trust(struct ktcp_passbook *book);
void ktcp_pass_forget(struct ktcp_passbook *book);

#endif /* KTCP_PASS_H */
