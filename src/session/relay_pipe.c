/* SPDX-License-Identifier: MIT */
#include "session/relay_pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void relay_pipes_init(struct relay_pipes *pipes, unsigned limit)
{
	*pipes = (struct relay_pipes){ .limit = limit };
}

void relay_pipes_discard(struct relay_pipes *pipes, struct relay_pipe *pipe)
{
	close(pipe->out);
	close(pipe->in);
	free(pipe);
	pipes->open_count--;
}

void relay_pipes_fini(struct relay_pipes *pipes)
{
	while (pipes->idle != NULL) {
		struct relay_pipe *pipe = pipes->idle;

		pipes->idle = pipe->next;
		relay_pipes_discard(pipes, pipe);
	}
	assert(pipes->open_count == 0);
}

static struct relay_pipe *relay_pipe_open(void)
{
	struct relay_pipe *pipe = malloc(sizeof *pipe);
	int ends[2];

	if (pipe == NULL)
		return NULL;
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
		free(pipe);
		return NULL;
	}
	/* EPERM: pipe-user-pages-soft is used up (pipe(7)); a smaller pipe works as well. */
	fcntl(ends[0], F_SETPIPE_SZ, (int)RELAY_PIPE_SIZE);
	pipe->out = ends[0];
	pipe->in = ends[1];
	return pipe;
}

struct relay_pipe *relay_pipes_get(struct relay_pipes *pipes)
{
	struct relay_pipe *pipe = pipes->idle;

	if (pipe != NULL) {
		pipes->idle = pipe->next;
		pipes->idle_count--;
		return pipe;
	}
	if (pipes->open_count >= pipes->limit)
		return NULL;
	pipe = relay_pipe_open();
	if (pipe != NULL)
		pipes->open_count++;
	return pipe;
}

void relay_pipes_put(struct relay_pipes *pipes, struct relay_pipe *pipe)
{
	if (pipes->idle_count >= RELAY_PIPES_IDLE) {
		relay_pipes_discard(pipes, pipe);
		return;
	}
	pipe->next = pipes->idle;
	pipes->idle = pipe;
	pipes->idle_count++;
}
