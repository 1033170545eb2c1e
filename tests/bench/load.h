/* SPDX-License-Identifier: MIT */
/* One run of the load generator: what is asked for, and what its threads share. */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "histogram.h"
#include "role.h"

#define LOAD_MESSAGE_MAX 65536 /* of a round trip [bytes] */
#define LOAD_CLOCKS_MAX  128   /* processes whose CPU time is taken */
#define LOAD_SETUP_MAX   64    /* idle connections being set up at a time, a thread */

enum load_workload {
	LOAD_SHORT, /* connect, header, one request, one reply, close; again and again */
	LOAD_TRIPS, /* requests and replies on connections that stay */
	LOAD_BULK,  /* as many bytes as go through */
	LOAD_IDLE,  /* one request and reply, then silence until our stdin ends */
};

enum load_header {
	LOAD_HEADER_NONE, /* straight to the backend */
	LOAD_HEADER_V1,
	LOAD_HEADER_V2,
	LOAD_HEADER_V2_NLB, /* with the TLVs of an AWS Network Load Balancer: CRC32C, endpoint id, padding */
};

enum load_phase {
	LOAD_WARMUP,
	LOAD_MEASURE,
	LOAD_DONE,
};

struct load_snapshot {
	uint64_t at;  /* monotonic [ns] */
	uint64_t cpu; /* of all processes watched [ns] */
	uint64_t operations;
	uint64_t bytes;
};

struct load {
	/* Asked for, read-only once the threads run. */
	struct sockaddr_in target;
	enum load_workload workload;
	enum load_header header;
	enum role role;
	unsigned connections; /* at a time, of all threads */
	unsigned threads;
	unsigned message;                  /* of a request and of a reply [bytes] */
	uint64_t warmup;                   /* LOAD_SHORT: connections; otherwise [ns] */
	uint64_t measure;                  /* likewise; LOAD_SHORT with 0: until our stdin ends */
	clockid_t clocks[LOAD_CLOCKS_MAX]; /* CPU time of the processes watched */
	unsigned n_clocks;

	/* Shared. */
	atomic_uint_fast64_t started;    /* connections */
	atomic_uint_fast64_t operations; /* connections done, round trips, or chunks */
	atomic_uint_fast64_t bytes;      /* of bulk, both directions */
	atomic_int phase;                /* enum load_phase */
	atomic_bool stopping;       /* finish the connections that are open, and begin no more */
	uint64_t began_at;          /* monotonic [ns] */
	struct load_snapshot begin; /* the window: what lies between these two is measured */
	struct load_snapshot end;
};

uint64_t load_now(void); /* monotonic [ns] */

/* Count one finished operation of @bytes; opens and closes the window of LOAD_SHORT.
 * Returns whether it lies in the window. */
bool load_count(struct load *l, uint64_t bytes);

/* Close the window if that has not happened. No thread runs any more. */
void load_finish(struct load *l);

/* Open or close the window of the workloads that last for a time. One thread calls this often. */
void load_tick(struct load *l, uint64_t now);

/* Run the share of thread @index until the run is done, adding latencies in the window to
 * @latencies. Whatever goes wrong ends the program: a peer that loses connections is not compared. */
void load_worker_run(struct load *l, unsigned index, struct histogram *latencies);

#endif
