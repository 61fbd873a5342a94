// SPDX-License-Identifier: GPL-2.0-only
/*
 * What processes and POSIX threads cost: to make one, and to switch between two.
 * Prints a name and nanoseconds a line.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CREATIONS = 500, ROUNDS = 5000 };

static int ping, pong;

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void hand_over(int to, int from)
{
	if (eventfd_write(to, 1) || eventfd_read(from, &(eventfd_t){ 0 }))
		fail("eventfd");
}

/* The partner's side: the mirror of rounds(). */
static void *answer(void *unused)
{
	eventfd_t token;

	for (int round = 0; round < ROUNDS; round++)
		if (eventfd_read(ping, &token) || eventfd_write(pong, 1))
			fail("eventfd");
	return unused;
}

static void *nothing(void *unused)
{
	return unused;
}

static void rounds(const char *name)
{
	uint64_t begun = now();

	for (int round = 0; round < ROUNDS; round++)
		hand_over(ping, pong);
	/* Each round switches there and back. */
	printf("%s %llu\n", name, (unsigned long long)((now() - begun) / (2 * ROUNDS)));
}

static void processes(void)
{
	uint64_t spent = 0, begun;
	pid_t child;

	for (int count = 0; count < CREATIONS; count++) {
		begun = now();
		child = fork();
		if (child < 0)
			fail("fork");
		if (!child)
			_exit(0);
		spent += now() - begun;
		waitpid(child, NULL, 0);
	}
	printf("create_process %llu\n", (unsigned long long)(spent / CREATIONS));
	fflush(stdout);
	child = fork();
	if (child < 0)
		fail("fork");
	if (!child) {
		answer(NULL);
		_exit(0);
	}
	rounds("switch_process");
	waitpid(child, NULL, 0);
}

static void threads(void)
{
	uint64_t spent = 0, begun;
	pthread_t thread;

	for (int count = 0; count < CREATIONS; count++) {
		begun = now();
		if (pthread_create(&thread, NULL, nothing, NULL))
			fail("pthread_create");
		spent += now() - begun;
		pthread_join(thread, NULL);
	}
	printf("create_pthread %llu\n", (unsigned long long)(spent / CREATIONS));
	if (pthread_create(&thread, NULL, answer, NULL))
		fail("pthread_create");
	rounds("switch_pthread");
	pthread_join(thread, NULL);
}

int main(void)
{
	ping = eventfd(0, 0);
	pong = eventfd(0, 0);
	if (ping < 0 || pong < 0)
		fail("eventfd");
	processes();
	threads();
	return 0;
}
