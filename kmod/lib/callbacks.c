// SPDX-License-Identifier: GPL-2.0-only
/*
 * Callbacks of a socket, taken over from who had them and given back as they
 * were. Nobody else writes them. They change under sk_callback_lock; whether
 * one may still run after that is up to who takes them over:
 *
 *  - With the socket locked (lock_sock()) while they change: TCP calls those of
 *    a connection with its lock held only. None runs meanwhile, and once they
 *    are given back none comes any more. They need no lock of their own and
 *    read sk_user_data as it is.
 *  - Without, and for a listener in any case, which TCP does not lock when it
 *    calls back: one that TCP was about to call may come late. So each begins
 *    with ktcp_callbacks_enter(), which gives NULL after they were given back,
 *    and giving back waits for those that are between that and
 *    ktcp_callbacks_leave().
 *
 * Either way, what sk_user_data points to may be freed once they are given
 * back, and there is no need of RCU. They have to be given back before the
 * socket is released: TCP keeps the sock for as long as FIN takes, and goes on
 * calling. Two may share a socket, if they take over different callbacks, one
 * of them without data. Connections inherit those of their listener, and the
 * data; they are given back as if taken over by themselves.
 */

#include "lib/callbacks.h"

#include <net/sock.h>

typedef void (*callback_fn)(struct sock *sk);

static void take(callback_fn *slot, callback_fn ours, callback_fn *own)
{
	if (!ours)
		return;
	*own = *slot;
	WRITE_ONCE(*slot, ours);
}

/* A connection that came while its listener's changed may have part of them. */
static void give_back(callback_fn *slot, callback_fn ours, callback_fn own)
{
	if (ours && *slot == ours)
		WRITE_ONCE(*slot, own);
}

/**
 * ktcp_callbacks_take() - Take callbacks over
 * @sk: a sock that the caller does not release before they are given back
 * @ours: what is called from now on
 * @data: sk_user_data for them; NULL leaves it to another who has taken over
 * @own: set to the sock's own, where @ours has one
 *
 * What happened before is not told: look at the socket afterwards.
 *
 * Context: any; see above for whether @sk is locked.
 */
void ktcp_callbacks_take(struct sock *sk, const struct ktcp_callbacks *ours,
			 void *data, struct ktcp_callbacks *own)
{
	write_lock_bh(&sk->sk_callback_lock);
	take(&sk->sk_data_ready, ours->data_ready, &own->data_ready);
	take(&sk->sk_write_space, ours->write_space, &own->write_space);
	take(&sk->sk_state_change, ours->state_change, &own->state_change);
	take(&sk->sk_error_report, ours->error_report, &own->error_report);
	if (data) {
		WARN_ON_ONCE(sk->sk_user_data);
		sk->sk_user_data = data;
	}
	write_unlock_bh(&sk->sk_callback_lock);
}

/**
 * ktcp_callbacks_give_back() - The sock has its own callbacks again
 * @sk: the sock, or a connection that inherited from it
 * @ours: as ktcp_callbacks_take() got it
 * @data: likewise
 * @own: as it was set there
 *
 * Callbacks that are not @ours, since they were given back before, stay.
 *
 * Context: any; see above for who may still run afterwards.
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
 * Return: the data, which stays until then; NULL once it was given back.
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
