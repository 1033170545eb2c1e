/* SPDX-License-Identifier: MIT */
/* Happy path: take finds sockets from descriptor 3 on, each claim hands those of one place out, fini finds none left.
 *
 * What can go wrong:
 * - The variables are for another process (LISTEN_PID): there are no sockets.
 * - A descriptor is not open, or no listening stream socket, or of a place that no endpoint names: a warning.
 * - A socket does not listen: the program before us had paused it. A claim makes it listen again. */
#include "server/inherited_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/address.h"
#include "conf/endpoint.h"
#include "obs/log.h"
#include "server/listen_socket.h"

/* Where they begin: SD_LISTEN_FDS_START of sd_listen_fds(3). */
#define FIRST_FD 3

/* More than any limit on open files: what is larger is a mistake. */
#define COUNT_MAX (1 << 20)

struct inherited_socket {
	int fd;
	char *name;             /* of LISTEN_FDNAMES; ours */
	const char *flaw;       /* why it is of no use; NULL: it is */
	struct address address; /* it is bound to; AF_UNIX: `path` */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	ino_t inode; /* which socket the descriptor stands for */
};

/* --- what was passed --- */

static bool parse_number(const char *text, unsigned long max, unsigned long *ret)
{
	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
		return false;
	errno = 0;
	*ret = strtoul(text, NULL, 10);
	return errno == 0 && *ret <= max;
}

static int read_number(const char *variable, unsigned long max, unsigned long *ret,
		       char reterr[static INHERITED_SOCKET_ERROR_MAX])
{
	const char *text = getenv(variable);

	*ret = 0;
	if (text == NULL || parse_number(text, max, ret))
		return 0;
	snprintf(reterr, INHERITED_SOCKET_ERROR_MAX,
		 "the environment variable %s is \"%.64s\", but should be a whole number up to %lu "
		 "(sd_listen_fds(3)); correct it, or unset it",
		 variable, text, max);
	return -EINVAL;
}

/* How many descriptors are for us? */
static int read_count(unsigned long *ret, char reterr[static INHERITED_SOCKET_ERROR_MAX])
{
	unsigned long pid;
	int rv = read_number("LISTEN_PID", INT32_MAX, &pid, reterr);

	if (rv == 0)
		rv = read_number("LISTEN_FDS", COUNT_MAX, ret, reterr);
	if (rv == 0 && pid != (unsigned long)getpid())
		*ret = 0;
	return rv;
}

static void set_bound_to(struct inherited_socket *s)
{
	union {
		struct sockaddr sa;
		struct sockaddr_un sun;
		struct sockaddr_storage storage;
	} name = { .storage = { 0 } };
	socklen_t size = sizeof name.storage;

	if (getsockname(s->fd, &name.sa, &size) != 0)
		return;
	address_from_sockaddr(&s->address, &name.sa);
	if (s->address.family == AF_UNIX)
		memcpy(s->path, name.sun.sun_path, sizeof name.sun.sun_path);
}

static bool has_peer(int fd)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof peer;

	return getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
}

static int socket_option(int fd, int name)
{
	int value = 0;
	socklen_t size = sizeof value;

	return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : 0;
}

/* Why the descriptor is of no use, or NULL. */
static const char *find_flaw(struct inherited_socket *s)
{
	struct stat st;

	if (fstat(s->fd, &st) != 0)
		return "is not open";
	s->inode = st.st_ino;
	if (!S_ISSOCK(st.st_mode) || socket_option(s->fd, SO_TYPE) != SOCK_STREAM)
		return "is no stream socket (ListenStream= makes one)";
	set_bound_to(s);
	if (has_peer(s->fd))
		return "is a connection, not a listening socket (Accept=no makes one)";
	if (s->address.family == AF_UNSPEC)
		return "is neither a TCP nor a unix socket";
	if (s->address.family == AF_UNIX ? !socket_option(s->fd, SO_ACCEPTCONN)
					 : s->address.port == 0)
		return "does not listen";
	return NULL;
}

static bool is_known(const struct inherited_sockets *s, ino_t inode)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].inode == inode)
			return true;
	return false;
}

/* What is of no use is closed at once, before something else of ours can be opened with its number. A second
 * descriptor of a socket is not needed: claims make as many as it takes. */
static int take_one(struct inherited_sockets *s, int fd, const char *name, size_t name_size)
{
	struct inherited_socket *one = &s->list[s->count];
	bool again;

	one->fd = fd;
	one->flaw = find_flaw(one);
	again = one->flaw == NULL && is_known(s, one->inode);
	if (one->flaw != NULL || again)
		close(fd);
	if (again)
		return 0;
	one->name = strndup(name, name_size);
	if (one->name == NULL)
		return -ENOMEM;
	s->count++;
	if (one->flaw == NULL) {
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	}
	return 0;
}

static int take_all(struct inherited_sockets *s, unsigned long count)
{
	const char *name = getenv("LISTEN_FDNAMES");

	s->list = calloc(count, sizeof *s->list);
	if (s->list == NULL)
		return -ENOMEM;
	if (name == NULL)
		name = "";
	for (unsigned long i = 0; i < count; i++) {
		size_t size = strcspn(name, ":");
		int rv = take_one(s, FIRST_FD + (int)i, name, size);

		if (rv != 0)
			return rv;
		name += name[size] == ':' ? size + 1 : size;
	}
	return 0;
}

/* They are not for whoever we start. */
static void clear_environment(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_PIDFDID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int inherited_sockets_take(struct inherited_sockets *ret,
			   char reterr[static INHERITED_SOCKET_ERROR_MAX])
{
	struct inherited_sockets s = { .list = NULL };
	unsigned long count;
	int rv = read_count(&count, reterr);

	if (rv != 0)
		return rv;
	rv = count > 0 ? take_all(&s, count) : 0;
	clear_environment();
	if (rv != 0) {
		snprintf(reterr, INHERITED_SOCKET_ERROR_MAX,
			 "cannot take the sockets of LISTEN_FDS: %s", strerror(-rv));
		inherited_sockets_fini(&s, NULL);
		return rv;
	}
	*ret = s;
	return 0;
}

/* --- who gets it --- */

static bool is_at(const struct inherited_socket *s, const struct endpoint *e, uint16_t port)
{
	if (s->flaw != NULL)
		return false;
	if (e->kind == ENDPOINT_UNIX)
		return s->address.family == AF_UNIX && strcmp(s->path, e->path) == 0;
	return address_same_ip(&s->address, &e->ip) && (port == 0 || s->address.port == port);
}

/* The port that @e stands for: its own, or that of the first socket at its IP. */
static uint16_t find_port(const struct inherited_sockets *s, const struct endpoint *e)
{
	if (e->ip.port != 0)
		return e->ip.port;
	for (size_t i = 0; i < s->count; i++)
		if (is_at(&s->list[i], e, 0))
			return s->list[i].address.port;
	return 0;
}

static void close_duplicates(struct inherited_claim *c, unsigned from)
{
	while (c->count > from)
		close(c->fds[--c->count]);
}

/* Add duplicates until there is one for each worker. */
static int fill_up(struct inherited_claim *c, unsigned workers)
{
	unsigned originals = c->count;

	while (c->count < workers) {
		int fd = fcntl(c->fds[c->count % originals], F_DUPFD_CLOEXEC, 0);
		int rv = -errno;

		if (fd < 0) {
			close_duplicates(c, originals);
			return rv;
		}
		c->fds[c->count++] = fd;
	}
	return 0;
}

static int prepare(const struct inherited_socket *s)
{
	if (s->address.family != AF_UNIX)
		listen_socket_set_options(s->fd);
	return listen_socket_resume(s->fd);
}

/* The descriptors of what is at the place, still in the list. */
static int collect(const struct inherited_sockets *s, const struct endpoint *e, uint16_t port,
		   struct inherited_claim *ret)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct inherited_socket *one = &s->list[i];
		int rv;

		if (!is_at(one, e, port))
			continue;
		rv = prepare(one);
		if (rv != 0)
			return rv;
		ret->fds[ret->count++] = one->fd;
		ret->file_stays =
		    e->kind == ENDPOINT_UNIX && strcmp(one->name, INHERITED_SOCKET_OWN) != 0;
	}
	return 0;
}

static void forget(struct inherited_sockets *s, const struct endpoint *e, uint16_t port)
{
	size_t left = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (is_at(&s->list[i], e, port))
			free(s->list[i].name);
		else
			s->list[left++] = s->list[i];
	}
	s->count = left;
}

int inherited_sockets_claim(struct inherited_sockets *s, const struct endpoint *e, unsigned workers,
			    struct inherited_claim *ret)
{
	struct inherited_claim c = { .count = 0 };
	uint16_t port = find_port(s, e);
	int rv;

	*ret = c;
	if (s->count == 0)
		return 0;
	c.fds = calloc(s->count + workers, sizeof *c.fds);
	if (c.fds == NULL)
		return -ENOMEM;
	rv = collect(s, e, port, &c);
	if (rv == 0 && c.count > 0)
		rv = fill_up(&c, workers);
	if (rv != 0 || c.count == 0) {
		free(c.fds);
		return rv;
	}
	forget(s, e, port);
	*ret = c;
	return 0;
}

static void log_unclaimed(const struct inherited_socket *s, struct log_buffer *log)
{
	char text[ADDRESS_TEXT_MAX];

	if (s->flaw != NULL) {
		log_message(log, LOG_WARN, "inherited_socket",
			    "descriptor %d (%s) of LISTEN_FDS is of no use: it %s", s->fd, s->name,
			    s->flaw);
		return;
	}
	address_format(&s->address, text);
	log_message(log, LOG_WARN, "inherited_socket",
		    "closing the socket at %s%s (%s) that was passed to us: nothing is configured "
		    "to listen there; add a listener, or take it out of the socket unit",
		    text, s->path, s->name);
}

void inherited_sockets_fini(struct inherited_sockets *s, struct log_buffer *log)
{
	for (size_t i = 0; i < s->count; i++) {
		if (log != NULL)
			log_unclaimed(&s->list[i], log);
		if (s->list[i].flaw == NULL)
			close(s->list[i].fd);
		free(s->list[i].name);
	}
	free(s->list);
	s->list = NULL;
	s->count = 0;
}
