/* SPDX-License-Identifier: GPL-2.0-only */
/* Moves bytes from one socket to another, as many as there is room for. */
#ifndef KTCP_TRANSFER_H
#define KTCP_TRANSFER_H

#include <linux/types.h>

struct ktcp_record_reader;
struct ktcp_record_writer;
struct sock;

/* Why a transfer ended. */
enum ktcp_transfer_end {
	KTCP_SOURCE_EMPTY, /* all there is has been moved */
	KTCP_SOURCE_HAS_MORE, /* moved as much as one transfer may */
	KTCP_SOURCE_ENDED, /* by FIN or END, and all is moved, also an END */
	KTCP_SOURCE_BROKEN, /* by an error or a wrong record, and all is moved */
	KTCP_SINK_FULL, /* its callback tells when there is room */
	KTCP_SINK_BROKEN,
};

/**
 * struct ktcp_transfer - What to move, and how much was moved
 * @source: the socket to read from
 * @sink: the socket to write to
 * @reader: whether bytes come from @source in records
 * @writer: whether @sink gets them in records
 * @refer: hand pages on by reference; if false, copy them
 * @bytes: how many bytes of the stream were moved
 */
struct ktcp_transfer {
	struct sock *source;
	struct sock *sink;
	struct ktcp_record_reader *reader;
	struct ktcp_record_writer *writer;
	bool refer;
	size_t bytes;
};

enum ktcp_transfer_end ktcp_transfer(struct ktcp_transfer *transfer);
enum ktcp_transfer_end ktcp_transfer_atomic(struct ktcp_transfer *transfer);
void ktcp_transfer_exit(void);

#endif /* KTCP_TRANSFER_H */
