/* SPDX-License-Identifier: MIT */
/* Happy path: started as root, we become somebody else and keep CAP_NET_RAW if a listener is transparent; started as
 * somebody else, we give up what we have but for that.
 *
 * What can go wrong:
 * - The user does not exist, or we may not become another one: say so and do not start. Not if the user is only
 *   the default, though: containers take the right to change users away, or have no other user.
 * - We are not root, so there is nobody to become: a warning. */
#include "server/privilege.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/capability.h"
#include "obs/log.h"

/* The default of the key `user`, and who that is where nobody has that name. */
#define NOBODY    "nobody"
#define NOBODY_ID 65534

struct account {
	const char *name; /* as configured */
	bool named;       /* it has supplementary groups that can be looked up */
	uid_t uid;
	gid_t gid;
};

static int fail(char reterr[static PRIVILEGE_ERROR_MAX], const char *user, int rv,
		const char *advice)
{
	snprintf(reterr, PRIVILEGE_ERROR_MAX, "user: \"%s\": %s; %s", user, strerror(-rv), advice);
	return rv;
}

/* "1000": the group has the same number, unless the user database knows better. */
static int account_of_number(const char *user, struct account *ret)
{
	char *end;
	unsigned long number;
	const struct passwd *entry;

	errno = 0;
	number = strtoul(user, &end, 10);
	if (user[strspn(user, "0123456789")] != '\0' || errno != 0 || number >= UINT32_MAX)
		return -ENOENT;
	ret->uid = (uid_t)number;
	entry = getpwuid(ret->uid);
	ret->gid = entry != NULL ? entry->pw_gid : (gid_t)number;
	ret->named = false;
	return 0;
}

static int account_find(const char *user, struct account *ret)
{
	const struct passwd *entry = getpwnam(user);

	*ret = (struct account){ .name = user };
	if (entry != NULL) {
		ret->named = true;
		ret->uid = entry->pw_uid;
		ret->gid = entry->pw_gid;
		return 0;
	}
	if (strcmp(user, NOBODY) != 0)
		return account_of_number(user, ret);
	ret->uid = NOBODY_ID;
	ret->gid = NOBODY_ID;
	return 0;
}

/* In all threads; only this one keeps its capabilities. */
static int become(const struct account *a)
{
	uid_t real, effective, saved;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		return -errno;
	if ((a->named ? initgroups(a->name, a->gid) : setgroups(0, NULL)) != 0 ||
	    setresgid(a->gid, a->gid, a->gid) != 0 || setresuid(a->uid, a->uid, a->uid) != 0)
		return -errno;
	if (getresuid(&real, &effective, &saved) != 0 || real != a->uid || effective != a->uid ||
	    saved != a->uid)
		return -EPERM;
	return 0;
}

/* Changing the user takes these from a process; without them there are neither core dumps nor profiles, and whoever
 * asked to be its death watch waits in vain. */
static void keep_process_settings(int death_signal)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0);
}

static int drop_root(const char *user, struct log_buffer *log,
		     char reterr[static PRIVILEGE_ERROR_MAX])
{
	struct account a;
	int death_signal = 0;
	int rv = account_find(user, &a);

	if (rv != 0)
		return fail(reterr, user, rv, "there is no such user; create it, or change `user`");
	prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0);
	rv = become(&a);
	if (rv == 0)
		keep_process_settings(death_signal);
	else if (strcmp(user, NOBODY) != 0)
		return fail(reterr, user, rv,
			    "becoming another user takes the capabilities CAP_SETUID and "
			    "CAP_SETGID; start as that user, or set `user` to \"root\"");
	else if (log != NULL)
		log_message(log, LOG_WARN, "privilege",
			    "staying root, without its capabilities: cannot become %s: %s", user,
			    strerror(-rv));
	return 0;
}

static bool is_us(const char *user)
{
	struct account a;

	return account_find(user, &a) == 0 && a.uid == geteuid();
}

void privilege_raise(void)
{
	capability_raise(CAPABILITY(CAP_NET_RAW) | CAPABILITY(CAP_NET_BIND_SERVICE));
}

int privilege_drop(const char *user, bool transparent, struct log_buffer *log,
		   char reterr[static PRIVILEGE_ERROR_MAX])
{
	int rv = 0;

	if (geteuid() == 0) {
		if (strcmp(user, "root") == 0)
			return 0;
		rv = drop_root(user, log, reterr);
	} else if (strcmp(user, NOBODY) != 0 && !is_us(user) && log != NULL) {
		log_message(log, LOG_WARN, "privilege",
			    "`user` is ignored: only root can become another user");
	}
	if (rv != 0)
		return rv;
	rv = capability_keep(transparent ? CAPABILITY(CAP_NET_RAW) : 0);
	if (rv == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		rv = -errno;
	if (rv != 0)
		snprintf(reterr, PRIVILEGE_ERROR_MAX, "cannot give up capabilities: %s",
			 strerror(-rv));
	return rv;
}
