/* SPDX-License-Identifier: MIT */
/* Happy path: fork, put the sockets where sd_listen_fds(3) says, execute. The new program opens nothing anew, begins to
 * accept beside us, and writes a byte into the pipe that it was given. From then on it is the one that serves.
 *
 * What can go wrong:
 * - It cannot be executed: a second pipe, which execve(2) closes, tells at once.
 * - It ends by itself (a configuration that it does not accept, a file that it may not read): SIGCHLD tells.
 * - It neither serves nor ends: it is killed when its time is up.
 * - We are to stop meanwhile: it is told to as well. */
#include "server/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/capability.h"
#include "server/program.h"

/* Sockets are passed from this descriptor on: SD_LISTEN_FDS_START of sd_listen_fds(3). */
#define FIRST_FD 3

/* The new program finds the number of its end of the pipe there. */
#define READY_VARIABLE "UNPROXY_READY_FD"

/* What the new program says there. */
#define SAYS_READY 'R'

/* How long execve(2) may take, which other threads stand still for [ms]. */
#define EXECUTE_MS 5000

/* A new program that has closed the pipe has this long to end by itself [ms]. */
#define END_MS 1000

#define PID_DIGITS 10

struct handover {
	uv_poll_t pipe;
	uv_timer_t timer;
	uv_signal_t child;
	unsigned handles; /* that are not closed; opened in this order */
	int fd;           /* our end of the pipe; -1: none */
	pid_t pid;
	char why[HANDOVER_ERROR_MAX]; /* nothing will come of it; empty: not known yet */
	char *path;
	unsigned ready_ms;
	handover_cb cb;
	void *data;
};

/* All that the child needs, for between fork(2) and execve(2) memory cannot be had. */
struct spawn {
	const struct program *program;
	char **environment;
	char listen_pid[sizeof "LISTEN_PID=" + PID_DIGITS];
	char listen_fds[32];
	char ready_fd[40];
	char *names;  /* "LISTEN_FDNAMES=…" */
	int *fds;     /* duplicates, all above those that they become; the pipe's end is the last */
	size_t count; /* of fds */
	int error_pipe[2]; /* execve(2) closes it; otherwise the errno comes */
	sigset_t signals;  /* that were blocked */
};

/* --- what is prepared --- */

static bool is_variable(const char *entry, const char *name)
{
	size_t size = strlen(name);

	return strncmp(entry, name, size) == 0 && entry[size] == '=';
}

/* Those that are for us alone. */
static bool is_ours(const char *entry)
{
	static const char *const names[] = { "LISTEN_PID",     "LISTEN_PIDFDID", "LISTEN_FDS",
					     "LISTEN_FDNAMES", "WATCHDOG_PID",   READY_VARIABLE };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (is_variable(entry, names[i]))
			return true;
	return false;
}

static int prepare_environment(struct spawn *s)
{
	char *const own[] = { s->listen_pid, s->listen_fds, s->names, s->ready_fd };
	size_t count = 0;

	while (environ[count] != NULL)
		count++;
	s->environment = calloc(count + ARRAY_SIZE(own) + 1, sizeof *s->environment);
	if (s->environment == NULL)
		return -ENOMEM;
	count = 0;
	for (char **at = environ; *at != NULL; at++)
		if (!is_ours(*at))
			s->environment[count++] = *at;
	memcpy(s->environment + count, own, sizeof own);
	return 0;
}

static int prepare_names(struct spawn *s, const struct handover_options *options)
{
	size_t size = sizeof "LISTEN_FDNAMES=";
	char *at;

	for (size_t i = 0; i < options->count; i++)
		size += strlen(options->names[i]) + 1;
	s->names = malloc(size);
	if (s->names == NULL)
		return -ENOMEM;
	at = stpcpy(s->names, "LISTEN_FDNAMES=");
	for (size_t i = 0; i < options->count; i++)
		at += sprintf(at, "%s%s", i > 0 ? ":" : "", options->names[i]);
	return 0;
}

/* Where it is not in the way of those that the new program gets. Returns a negative errno without descriptors. */
static int duplicate_above(const struct handover_options *options, int fd)
{
	int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD + (int)options->count + 1);

	return duplicate >= 0 ? duplicate : -errno;
}

static int prepare_fds(struct spawn *s, const struct handover_options *options, int pipe_fd)
{
	s->fds = calloc(options->count + 1, sizeof *s->fds);
	if (s->fds == NULL)
		return -ENOMEM;
	for (; s->count <= options->count; s->count++) {
		int fd = s->count < options->count ? options->fds[s->count] : pipe_fd;

		s->fds[s->count] = duplicate_above(options, fd);
		if (s->fds[s->count] < 0)
			return s->fds[s->count];
	}
	return 0;
}

static int prepare_error_pipe(struct spawn *s, const struct handover_options *options)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	s->error_pipe[0] = fds[0];
	s->error_pipe[1] = duplicate_above(options, fds[1]);
	close(fds[1]);
	return s->error_pipe[1] < 0 ? s->error_pipe[1] : 0;
}

static int spawn_init(struct spawn *s, const struct handover_options *options, int pipe_fd)
{
	int rv;

	memset(s, 0, sizeof *s);
	s->program = options->program;
	s->error_pipe[0] = -1;
	s->error_pipe[1] = -1;
	strcpy(s->listen_pid, "LISTEN_PID=");
	snprintf(s->listen_fds, sizeof s->listen_fds, "LISTEN_FDS=%zu", options->count);
	snprintf(s->ready_fd, sizeof s->ready_fd, READY_VARIABLE "=%zu", FIRST_FD + options->count);
	rv = prepare_names(s, options);
	if (rv == 0)
		rv = prepare_environment(s);
	if (rv == 0)
		rv = prepare_fds(s, options, pipe_fd);
	if (rv == 0)
		rv = prepare_error_pipe(s, options);
	return rv;
}

static void spawn_fini(struct spawn *s)
{
	for (size_t i = 0; i < s->count; i++)
		close(s->fds[i]);
	for (int i = 0; i < 2; i++)
		if (s->error_pipe[i] >= 0)
			close(s->error_pipe[i]);
	free(s->fds);
	free(s->names);
	free(s->environment);
}

/* --- the child, until it is another program: async-signal-safe calls only --- */

/* Our handlers write into pipes of the process that we were, so no signal may come before this. */
static void child_reset_signals(const sigset_t *blocked)
{
	const struct sigaction standard = { .sa_handler = SIG_DFL };

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &standard, NULL); /* EINVAL: SIGKILL, SIGSTOP, and the C library's */
	sigprocmask(SIG_SETMASK, blocked, NULL);
}

static void child_write_pid(char *to, pid_t pid)
{
	char digits[PID_DIGITS];
	size_t count = 0;

	for (; pid > 0; pid /= 10)
		digits[count++] = (char)('0' + pid % 10);
	while (count > 0)
		*to++ = digits[--count];
	*to = '\0';
}

_Noreturn static void child_run(struct spawn *s)
{
	ssize_t written;
	int error;

	child_write_pid(s->listen_pid + strlen("LISTEN_PID="), getpid());
	for (size_t i = 0; i < s->count; i++)
		dup2(s->fds[i], FIRST_FD + (int)i);  /* there is room: the duplicates are higher */
	capability_pass_on(CAPABILITY(CAP_NET_RAW)); /* the new program misses it, or does not */
	child_reset_signals(&s->signals);
	execve(s->program->path, s->program->arguments, s->environment);
	error = errno;
	written = write(s->error_pipe[1], &error, sizeof error);
	(void)written;
	_exit(127);
}

/* Wait until it is another program. Returns 0 or a negative errno. */
static int spawn_wait(struct spawn *s)
{
	struct pollfd p = { .fd = s->error_pipe[0], .events = POLLIN };
	int error;

	close(s->error_pipe[1]); /* now only the child has it */
	s->error_pipe[1] = -1;
	if (poll(&p, 1, EXECUTE_MS) != 1)
		return -ETIMEDOUT;
	return read(s->error_pipe[0], &error, sizeof error) == sizeof error ? -error : 0;
}

/* Returns the child's number or a negative errno. */
static pid_t spawn_run(struct spawn *s)
{
	sigset_t all;
	pid_t pid;
	int rv;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &s->signals);
	pid = fork();
	if (pid == 0)
		child_run(s);
	rv = pid < 0 ? -errno : spawn_wait(s);
	if (pid > 0 && rv != 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	pthread_sigmask(SIG_SETMASK, &s->signals, NULL);
	return rv == 0 ? pid : rv;
}

/* --- waiting for it --- */

static void handover_free(struct handover *h)
{
	free(h->path);
	free(h);
}

static void handover_on_closed(uv_handle_t *handle)
{
	struct handover *h = handle->data;

	if (--h->handles == 0)
		handover_free(h);
}

/* Frees it, now or later. */
static void handover_close(struct handover *h)
{
	unsigned handles = h->handles;

	if (handles > 0)
		uv_close((uv_handle_t *)&h->pipe, handover_on_closed);
	if (handles > 1)
		uv_close((uv_handle_t *)&h->timer, handover_on_closed);
	if (handles > 2)
		uv_close((uv_handle_t *)&h->child, handover_on_closed);
	if (h->fd >= 0)
		close(h->fd);
	if (handles == 0)
		handover_free(h);
}

static void handover_end(struct handover *h, const char *failure)
{
	handover_close(h);
	h->cb(h->data, h->pid, failure);
}

static void handover_on_late(uv_timer_t *timer)
{
	struct handover *h = timer->data;

	if (h->why[0] == '\0' && uv_is_active((uv_handle_t *)&h->pipe))
		snprintf(h->why, sizeof h->why, "%s did not serve within %u ms, and was killed",
			 h->path, h->ready_ms);
	else if (h->why[0] == '\0')
		snprintf(h->why, sizeof h->why, "%s cannot be handed over to, and was killed",
			 h->path);
	kill(h->pid, SIGKILL); /* SIGCHLD follows */
}

/* The end of the pipe without a word is that of a program that ends. */
static void handover_on_message(uv_poll_t *pipe, int status, int events)
{
	struct handover *h = pipe->data;
	char said = '\0';
	ssize_t size = read(h->fd, &said, sizeof said);

	(void)status;
	(void)events;
	if (size < 0)
		return;
	if (said == SAYS_READY) {
		handover_end(h, NULL);
		return;
	}
	uv_poll_stop(&h->pipe);
	uv_timer_start(&h->timer, handover_on_late, END_MS, 0);
}

/* If we have become somebody else since our start, so has the new program from its start on. */
static void handover_describe_end(struct handover *h, int status)
{
	char user[128] = "";

	if (geteuid() != 0)
		snprintf(user, sizeof user,
			 " (it runs as user %u, who has to be able to read the configuration and "
			 "to write log.output)",
			 (unsigned)geteuid());
	if (WIFSIGNALED(status))
		snprintf(h->why, sizeof h->why, "%s was killed by signal %d (%s) before it served",
			 h->path, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(h->why, sizeof h->why,
			 "%s ended with status %d before it served; what it wrote to stderr says "
			 "why%s",
			 h->path, WEXITSTATUS(status), user);
}

static void handover_on_child(uv_signal_t *signal_handle, int number)
{
	struct handover *h = signal_handle->data;
	int status;

	(void)number;
	if (waitpid(h->pid, &status, WNOHANG) != h->pid)
		return;
	if (h->why[0] == '\0')
		handover_describe_end(h, status);
	handover_end(h, h->why);
}

static int handover_open_handles(struct handover *h, uv_loop_t *loop)
{
	int rv = uv_poll_init(loop, &h->pipe, h->fd);

	if (rv != 0)
		return rv;
	h->pipe.data = h;
	uv_timer_init(loop, &h->timer); /* cannot fail */
	h->timer.data = h;
	h->handles = 2;
	rv = uv_signal_init(loop, &h->child);
	if (rv != 0)
		return rv;
	h->child.data = h;
	h->handles = 3;
	return uv_signal_start(&h->child, handover_on_child, SIGCHLD);
}

/* --- its life --- */

static struct handover *handover_create(const struct handover_options *options)
{
	struct handover *h = calloc(1, sizeof *h);

	if (h == NULL)
		return NULL;
	h->path = strdup(options->program->path);
	if (h->path == NULL) {
		free(h);
		return NULL;
	}
	h->fd = -1;
	h->ready_ms = options->ready_ms;
	h->cb = options->cb;
	h->data = options->data;
	return h;
}

/* @pipe_fd is the child's end. */
static int handover_spawn(struct handover *h, const struct handover_options *options, int pipe_fd)
{
	struct spawn s;
	int rv = spawn_init(&s, options, pipe_fd);

	if (rv == 0) {
		h->pid = spawn_run(&s);
		rv = h->pid < 0 ? h->pid : 0;
	}
	spawn_fini(&s);
	return rv;
}

static int handover_open(struct handover *h, const struct handover_options *options)
{
	int fds[2];
	int rv;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	h->fd = fds[0];
	fcntl(h->fd, F_SETFL, O_NONBLOCK);
	rv = handover_open_handles(h, options->loop);
	if (rv == 0)
		rv = handover_spawn(h, options, fds[1]);
	close(fds[1]);
	return rv;
}

int handover_start(const struct handover_options *options, struct handover **ret,
		   char reterr[static HANDOVER_ERROR_MAX])
{
	struct handover *h;
	int rv;

	if (getpid() == 1) {
		snprintf(reterr, HANDOVER_ERROR_MAX,
			 "this is the first process of a container, which ends with it: start "
			 "another container instead");
		return -EPERM;
	}
	h = handover_create(options);
	rv = h == NULL ? -ENOMEM : handover_open(h, options);
	if (rv != 0) {
		snprintf(reterr, HANDOVER_ERROR_MAX, "cannot start %s: %s", options->program->path,
			 strerror(-rv));
		if (h != NULL)
			handover_close(h);
		return rv;
	}
	uv_poll_start(&h->pipe, UV_READABLE, handover_on_message); /* neither can fail */
	uv_timer_start(&h->timer, handover_on_late, h->ready_ms, 0);
	*ret = h;
	return 0;
}

void handover_cancel(struct handover *h)
{
	if (h == NULL)
		return;
	kill(h->pid, SIGTERM);
	handover_close(h);
}

/* --- in the new program --- */

int handover_take_ready_fd(void)
{
	const char *text = getenv(READY_VARIABLE);
	struct stat st;
	int fd;

	if (text == NULL)
		return -1;
	fd = atoi(text);
	unsetenv(READY_VARIABLE);
	if (fd < FIRST_FD || fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode))
		return -1; /* not from us */
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

void handover_report_ready(int ready_fd)
{
	const char ready = SAYS_READY;
	ssize_t written;

	if (ready_fd < 0)
		return;
	written = write(ready_fd, &ready, sizeof ready);
	(void)written; /* nobody waits any more */
	close(ready_fd);
}
