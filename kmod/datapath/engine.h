/* SPDX-License-Identifier: GPL-2.0-only */
/* Gives a split whose two sides are connected to its engine. */
#ifndef KTCP_ENGINE_H
#define KTCP_ENGINE_H

#include <linux/types.h>

struct ktcp_split;

bool ktcp_engine_begin(struct ktcp_split *split);

#endif /* KTCP_ENGINE_H */
