/* SPDX-License-Identifier: MIT */
#include "server/auto_reload.h"

#include <errno.h>
#include <string.h>

#include "conf/config.h"
#include "obs/log.h"
#include "server/file_watch.h"
#include "server/server_private.h"

static void auto_reload_on_change(void *data)
{
	reload_start(data, "a file has changed");
}

static const char *remedy_for(int error)
{
	switch (error) {
	case -EACCES:
		return "make their folders readable for the user that unproxy runs as";
	case -ENOSPC:
		return "raise fs.inotify.max_user_watches";
	case -EMFILE:
		return "raise fs.inotify.max_user_instances";
	default:
		return "send SIGHUP after changes";
	}
}

void auto_reload_apply(struct server *s)
{
	const struct config *c = s->config;
	int rv = 0;

	if (!c->watch) {
		auto_reload_stop(s);
		return;
	}
	if (s->watch == NULL)
		rv = file_watch_create(&s->loop, auto_reload_on_change, s, &s->watch);
	if (rv == 0)
		rv = file_watch_set(s->watch, c->files, c->file_count);
	if (rv != 0)
		log_message(s->log_buffer, LOG_ERROR, "watch",
			    "cannot watch the files of the configuration: %s; %s", strerror(-rv),
			    remedy_for(rv));
}

void auto_reload_stop(struct server *s)
{
	file_watch_destroy(s->watch);
	s->watch = NULL;
}
