/* SPDX-License-Identifier: MIT */
#include "admin/http_request.h"

#include <string.h>
#include <strings.h>

/* A piece of the request; not zero-terminated. */
struct piece {
	const char *at;
	size_t size;
};

static bool piece_is(const struct piece *p, const char *text)
{
	return p->size == strlen(text) && strncasecmp(p->at, text, p->size) == 0;
}

/* Take what stands before the first @c off @rest, and @c itself. Returns false if there is no @c. */
static bool piece_split(struct piece *rest, char c, struct piece *ret)
{
	const char *found = memchr(rest->at, c, rest->size);

	if (found == NULL)
		return false;
	*ret = (struct piece){ rest->at, (size_t)(found - rest->at) };
	*rest = (struct piece){ found + 1, rest->size - ret->size - 1 };
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A token of RFC 9110, section 5.6.2. */
static bool is_token(const struct piece *p)
{
	for (size_t i = 0; i < p->size; i++) {
		char c = p->at[i];

		if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
			return false;
	}
	return p->size > 0;
}

/* --- the request line --- */

static enum http_status parse_version(struct http_request *r, const struct piece *version)
{
	const char *at = version->at;

	if (version->size != strlen("HTTP/1.1") || memcmp(at, "HTTP/", 5) != 0 ||
	    !is_digit(at[5]) || at[6] != '.' || !is_digit(at[7]))
		return HTTP_BAD_REQUEST;
	r->minor = (unsigned)(at[7] - '0');
	return at[5] == '1' ? HTTP_OK : HTTP_BAD_VERSION;
}

static enum http_status parse_method(struct http_request *r, const struct piece *method)
{
	r->head = method->size == 4 && memcmp(method->at, "HEAD", 4) == 0;
	if (r->head || (method->size == 3 && memcmp(method->at, "GET", 3) == 0))
		return HTTP_OK;
	return HTTP_METHOD_NOT_ALLOWED;
}

/* Drop "http://host" of an absolute-form, which proxies send. Returns false if it is none. */
static bool drop_authority(struct piece *target)
{
	struct piece scheme;
	const char *slash;

	if (!piece_split(target, ':', &scheme) ||
	    (!piece_is(&scheme, "http") && !piece_is(&scheme, "https")) || target->size < 3 ||
	    memcmp(target->at, "//", 2) != 0)
		return false;
	target->at += 2;
	target->size -= 2;
	slash = memchr(target->at, '/', target->size);
	if (slash == NULL || memchr(target->at, '?', (size_t)(slash - target->at)) != NULL)
		*target = (struct piece){ "/", 1 };
	else
		*target = (struct piece){ slash, target->size - (size_t)(slash - target->at) };
	return true;
}

static enum http_status parse_target(struct http_request *r, struct piece target)
{
	struct piece path;

	if (target.size == 0 || (target.at[0] != '/' && !drop_authority(&target)))
		return HTTP_BAD_REQUEST;
	if (!piece_split(&target, '?', &path))
		path = target;
	if (path.size > HTTP_PATH_MAX)
		return HTTP_NOT_FOUND;
	memcpy(r->path, path.at, path.size);
	r->path[path.size] = '\0';
	return HTTP_OK;
}

static enum http_status parse_request_line(struct http_request *r, struct piece rest)
{
	struct piece method;
	struct piece target;
	enum http_status status;

	if (!piece_split(&rest, ' ', &method) || !piece_split(&rest, ' ', &target) ||
	    !is_token(&method))
		return HTTP_BAD_REQUEST;
	status = parse_version(r, &rest);
	if (status == HTTP_OK)
		status = parse_method(r, &method);
	if (status == HTTP_OK)
		status = parse_target(r, target);
	r->begun = true;
	return status;
}

/* --- the fields --- */

static struct piece trimmed(struct piece p)
{
	while (p.size > 0 && (p.at[0] == ' ' || p.at[0] == '\t')) {
		p.at++;
		p.size--;
	}
	while (p.size > 0 && (p.at[p.size - 1] == ' ' || p.at[p.size - 1] == '\t'))
		p.size--;
	return p;
}

/* A body is refused; a length of 0 is none. */
static enum http_status parse_length(struct http_request *r, const struct piece *value)
{
	bool zero = true;

	if (r->has_length || value->size == 0)
		return HTTP_BAD_REQUEST;
	r->has_length = true;
	for (size_t i = 0; i < value->size; i++) {
		if (!is_digit(value->at[i]))
			return HTTP_BAD_REQUEST;
		zero = zero && value->at[i] == '0';
	}
	return zero ? HTTP_OK : HTTP_CONTENT_TOO_LARGE;
}

static enum http_status parse_field(struct http_request *r, struct piece rest)
{
	struct piece name;
	struct piece value;

	/* No token: also a space before the colon, and a line that continues the one before (section 5.2). */
	if (!piece_split(&rest, ':', &name) || !is_token(&name))
		return HTTP_BAD_REQUEST;
	value = trimmed(rest);
	if (piece_is(&name, "Transfer-Encoding"))
		return HTTP_CONTENT_TOO_LARGE;
	if (piece_is(&name, "Content-Length"))
		return parse_length(r, &value);
	if (piece_is(&name, "Host"))
		r->hosts++;
	return HTTP_OK;
}

/* Exactly one Host in HTTP/1.1 (section 3.2). */
static enum http_status check_hosts(const struct http_request *r)
{
	if (r->hosts > 1 || (r->hosts == 0 && r->minor > 0))
		return HTTP_BAD_REQUEST;
	return HTTP_OK;
}

/* --- lines --- */

static bool is_allowed(const struct http_request *r, char c)
{
	unsigned char byte = (unsigned char)c;

	if (r->begun && (byte == '\t' || byte >= 0x80))
		return true;
	return byte == '\r' || (byte >= ' ' && byte < 0x7f);
}

/* Look for the end of the line that begins at r->parsed. A CR belongs to it, and stands nowhere else. */
static enum parse find_line_end(struct http_request *r, const char *data, size_t size)
{
	for (; r->searched < size; r->searched++) {
		char c = data[r->searched];

		if (c == '\n')
			return PARSE_DONE;
		if (!is_allowed(r, c) || (r->searched > r->parsed && data[r->searched - 1] == '\r'))
			return PARSE_BAD;
	}
	return PARSE_MORE;
}

/* The line that ends at r->searched, without CRLF; a lone LF will do (section 2.2). */
static struct piece take_line(struct http_request *r, const char *data)
{
	struct piece line = { data + r->parsed, r->searched - r->parsed };

	if (line.size > 0 && line.at[line.size - 1] == '\r')
		line.size--;
	r->parsed = ++r->searched;
	return line;
}

void http_request_init(struct http_request *r)
{
	*r = (struct http_request){ .parsed = 0 };
}

/* @ret_whole: it was the empty line that ends the request. */
static enum http_status parse_line(struct http_request *r, struct piece line, bool *ret_whole)
{
	*ret_whole = line.size == 0 && r->begun;
	if (*ret_whole)
		return check_hosts(r);
	if (r->begun)
		return parse_field(r, line);
	return line.size == 0 ? HTTP_OK
			      : parse_request_line(r, line); /* empty ones may come first */
}

enum parse http_request_parse(struct http_request *r, const char *data, size_t size,
			      enum http_status *reterr)
{
	enum http_status status = HTTP_OK;
	bool whole = false;

	if (size > HTTP_REQUEST_MAX)
		size = HTTP_REQUEST_MAX;
	while (status == HTTP_OK && !whole) {
		switch (find_line_end(r, data, size)) {
		case PARSE_DONE:
			status = parse_line(r, take_line(r, data), &whole);
			break;
		case PARSE_MORE:
			if (size < HTTP_REQUEST_MAX)
				return PARSE_MORE;
			status = r->begun ? HTTP_FIELDS_TOO_LARGE : HTTP_URI_TOO_LONG;
			break;
		case PARSE_BAD:
			status = HTTP_BAD_REQUEST;
			break;
		}
	}
	if (status == HTTP_OK)
		return PARSE_DONE;
	*reterr = status;
	return PARSE_BAD;
}
