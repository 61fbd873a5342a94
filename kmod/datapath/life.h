/* SPDX-License-Identifier: GPL-2.0-only */
/* The states of a split, and which of them follows which. */
#ifndef KTCP_LIFE_H
#define KTCP_LIFE_H

#include <linux/types.h>

enum ktcp_life {
	KTCP_LIFE_NEW, /* a client's flow, for which nothing was begun yet */
	KTCP_LIFE_WAITING, /* a relay's connection before its OPEN */
	KTCP_LIFE_DROPPED, /* aborted before it was a split */
	KTCP_LIFE_OPENING, /* the far side is not connected yet */
	KTCP_LIFE_HALF, /* the far side is connected, the client perhaps not */
	KTCP_LIFE_FAILED, /* the far side could not be connected */
	KTCP_LIFE_OPEN, /* bytes flow */
	KTCP_LIFE_CLOSING, /* a direction has ended, by FIN */
	KTCP_LIFE_BREAKING, /* a side has ended otherwise: both end by RST */
	KTCP_LIFE_ABORTED, /* both sides have ended by RST */
	KTCP_LIFE_CLOSED, /* nobody works on it any more */
};

bool ktcp_life_go(enum ktcp_life *life, enum ktcp_life to);
bool ktcp_life_is_split(enum ktcp_life life);
bool ktcp_life_is_aborted(enum ktcp_life life);
bool ktcp_life_is_broken(enum ktcp_life life);
const char *ktcp_life_word(enum ktcp_life life);

#endif /* KTCP_LIFE_H */
