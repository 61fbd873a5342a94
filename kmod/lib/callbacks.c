// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes over the callbacks of a socket, and gives them back as they were.
 * Nobody else writes them. They change under sk_callback_lock. Whether one of
 * ours may still run after that depends on the caller:
 *
 *  - The caller locks the socket (lock_sock()) while they change. TCP calls a
 *    connection's callbacks only with its lock held. So none runs meanwhile,
 *    and none comes once they are given back. These callbacks need no lock of
 *    their own, and read sk_user_data as it is.
 *  - The caller does not lock it, or it is a listener, which TCP does not lock
 *    when it calls back. Then a callback that TCP was about to call may come
 *    late. So each begins with ktcp_callbacks_enter(), which returns NULL after
 *    they were given back. Giving back waits for all callbacks between that and
 *    ktcp_callbacks_leave().
 *
 * Either way, what sk_user_data points to may be freed once they are given
 * back; that needs no RCU. They have to be given back before the socket is
 * released: TCP keeps the sock for as long as FIN takes, and goes on calling.
 * Two users may share a socket if they take over different callbacks and one of
 * them has no data. Connections inherit the callbacks and the data of their
 * listener; a connection's are given back as if they had been taken over there.
 */

#include "lib/callbacks.h"

#include <net/sock.h>

typedef void (*callback_fn)(struct sock *sk);

static void take_callbacks(callback_fn *slot, callback_fn ours,
			   callback_fn *own)
{
	if (!ours)
		return;
	*own = *slot;
	WRITE_ONCE(*slot, ours);
}

/* A connection that came while its listener's changed may have some of ours. */
static void give_back(callback_fn *slot, callback_fn ours, callback_fn own)
{
	if (ours && *slot == ours)
		WRITE_ONCE(*slot, own);
}

/**
 * ktcp_callbacks_take() - Take callbacks over
 * @sk: the sock; must not be released before they are given back
 * @ours: the callbacks from now on
 * @data: sk_user_data for them; NULL leaves it to another user of the socket
 * @own: set to the sock's own callbacks, for each that @ours has
 *
 * They do not report what happened before: look at the socket afterwards.
 *
 * Context: any; see above for whether @sk is locked.
 */
void ktcp_callbacks_take(struct sock *sk, const struct ktcp_callbacks *ours,
			 void *data, struct ktcp_callbacks *own)
{
	write_lock_bh(&sk->sk_callback_lock);
	take_callbacks(&sk->sk_data_ready, ours->data_ready, &own->data_ready);
	take_callbacks(&sk->sk_write_space, ours->write_space,
		       &own->write_space);
	take_callbacks(&sk->sk_state_change, ours->state_change,
		       &own->state_change);
	take_callbacks(&sk->sk_error_report, ours->error_report,
		       &own->error_report);
	if (data) {
		WARN_ON_ONCE(sk->sk_user_data);
		sk->sk_user_data = data;
	}
	write_unlock_bh(&sk->sk_callback_lock);
}

/**
 * ktcp_callbacks_give_back() - Give a sock its own callbacks back
 * @sk: the sock, or a connection that inherited from it
 * @ours: as it was given to ktcp_callbacks_take()
 * @data: as it was given there
 * @own: as it was set there
 *
 * Callbacks that were given back before, and so are not @ours, stay.
 *
 * Context: any; see above for which callbacks may still run afterwards.
 */
void ktcp_callbacks_give_back(struct sock *sk,
			      const struct ktcp_callbacks *ours,
			      const void *data,
			      const struct ktcp_callbacks *own)
{
	write_lock_bh(&sk->sk_callback_lock);
	give_back(&sk->sk_data_ready, ours->data_ready, own->data_ready);
	give_back(&sk->sk_write_space, ours->write_space, own->write_space);
	give_back(&sk->sk_state_change, ours->state_change, own->state_change);
	give_back(&sk->sk_error_report, ours->error_report, own->error_report);
	if (data && sk->sk_user_data == data)
		sk->sk_user_data = NULL;
	write_unlock_bh(&sk->sk_callback_lock);
}

/**
 * ktcp_callbacks_enter() - Begin a callback of a sock that may not be locked
 * @sk: the sock; ktcp_callbacks_leave() has to follow
 *
 * Context: any.
 * Return: the data, which stays until then; NULL once they were given back.
 */
void *ktcp_callbacks_enter(struct sock *sk)
	__acquires(&sk->sk_callback_lock)
{
	read_lock_bh(&sk->sk_callback_lock);
	return sk->sk_user_data;
}

/**
 * ktcp_callbacks_leave() - End such a callback
 * @sk: the sock
 *
 * Context: any.
 */
void ktcp_callbacks_leave(struct sock *sk)
	__releases(&sk->sk_callback_lock)
{
	read_unlock_bh(&sk->sk_callback_lock);
}
