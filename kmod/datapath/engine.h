/* SPDX-License-Identifier: GPL-2.0-only */
/* Hands a split to its engine, once both sides are connected. */
#ifndef KTCP_ENGINE_H
#define KTCP_ENGINE_H

#include <linux/types.h>

struct ktcp_split;

bool ktcp_engine_begin(struct ktcp_split *split);

#endif /* KTCP_ENGINE_H */
