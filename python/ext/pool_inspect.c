/* SPDX-License-Identifier: MIT */
/*
 * pool_inspect.c - scan, stats, members, check.
 */
#include <string.h>
#include <time.h>

#include "core.h"

/* ---- scan --------------------------------------------------------------------- */

struct scan {
	uint64_t cursor;
	size_t count, capacity, used;
	uint8_t *buffer;
};

/* Grows the buffer until the next place's keys fit. 0, or -1 with an exception. */
static int scan_once(lz_pool *self, struct scan *scan, const ltz_key *prefix)
{
	for (;;) {
		ltz_pool *handle = lz_enter(self);
		if (handle == NULL)
			return -1;
		/* with a prefix that few keys have, one call may walk the whole index */
		PyThreadState *thread = lz_release(self);
		int result = ltz_scan(handle, &scan->cursor, scan->count, prefix, scan->buffer,
		                      scan->capacity, &scan->used);
		lz_reacquire(self, thread);
		lz_leave(self);
		if (result < 0) {
			lz_raise(self->state, result);
			return -1;
		}
		if (result == LTZ_OK)
			return 0;
		uint8_t *larger = PyMem_RawRealloc(scan->buffer, scan->used);
		if (larger == NULL) {
			PyErr_NoMemory();
			return -1;
		}
		scan->buffer = larger;
		scan->capacity = scan->used;
	}
}

static PyObject *scan_keys(lz_pool *self, const struct scan *scan)
{
	PyObject *keys = PyList_New(0);

	for (size_t at = 0; keys != NULL && at + sizeof(struct ltz_scan_entry) <= scan->used;) {
		struct ltz_scan_entry entry;
		memcpy(&entry, scan->buffer + at, sizeof(entry));
		at += sizeof(entry);
		PyObject *key = lz_key_decode(self->state, entry.type, scan->buffer + at, entry.size);
		if (key == NULL || PyList_Append(keys, key) < 0)
			Py_CLEAR(keys);
		Py_XDECREF(key);
		at += (entry.size + (size_t)7) & ~(size_t)7;
	}
	return keys;
}

static int scan_arguments(PyObject *cursor, PyObject *count, struct scan *scan)
{
	if (!PyLong_Check(cursor) || !PyLong_Check(count)) {
		PyErr_SetString(PyExc_TypeError, "cursor and count must be ints");
		return -1;
	}
	scan->cursor = PyLong_AsUnsignedLongLong(cursor);
	if (scan->cursor == UINT64_MAX && PyErr_Occurred()) {
		PyErr_SetString(PyExc_ValueError, "cursor must be 0 or what the last scan() returned");
		return -1;
	}
	int overflow;
	long long wanted = PyLong_AsLongLongAndOverflow(count, &overflow);
	if (overflow < 0 || (overflow == 0 && wanted <= 0)) {
		PyErr_SetString(PyExc_ValueError, "count must be positive");
		return -1;
	}
	scan->count = overflow > 0 ? SIZE_MAX : (size_t)wanted;
	return 0;
}

PyObject *lz_pool_scan(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const struct lz_signature signature = {"_scan", 3, 3, {"cursor", "count", "prefix"}};
	lz_pool *self = (lz_pool *)object;
	struct scan scan = {.capacity = LTZ_SCAN_BUFFER};
	struct lz_key prefix;
	PyObject *given[3], *keys = NULL;

	if (lz_args(&signature, args, nargs, kwnames, given) < 0 ||
	    scan_arguments(given[0], given[1], &scan) < 0)
		return NULL;
	bool all = given[2] == Py_None;
	if (!all && !PyUnicode_Check(given[2])) {
		PyErr_Format(PyExc_TypeError, "prefix must be a str, not %.100s", Py_TYPE(given[2])->tp_name);
		return NULL;
	}
	prefix.heap = NULL;
	if (!all && lz_key_encode(self->state, given[2], &prefix) < 0)
		return NULL;
	scan.buffer = PyMem_RawMalloc(scan.capacity);
	if (scan.buffer == NULL)
		PyErr_NoMemory();
	else if (scan_once(self, &scan, all ? NULL : &prefix.key) == 0)
		keys = scan_keys(self, &scan);
	PyMem_RawFree(scan.buffer);
	lz_key_drop(&prefix);
	return keys == NULL ? NULL : Py_BuildValue("(KN)", (unsigned long long)scan.cursor, keys);
}

/* ---- stats, members ---------------------------------------------------------------- */

static double seconds(int64_t ms)
{
	return (double)ms / 1000.0;
}

static double index_load(const struct ltz_stats *stats)
{
	return stats->index_buckets == 0 ? 0.0 : (double)stats->keys / (double)stats->index_buckets;
}

static double age(const struct ltz_stats *stats)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	double age = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - seconds(stats->created_ms);
	return age < 0.0 ? 0.0 : age; /* the clock was set back */
}

/* index_load: records a bucket; the index grows at about 4 and shrinks at about 1. */
static PyObject *stats_dict(const struct ltz_stats *s)
{
	typedef unsigned long long u;

	return Py_BuildValue(
	    "{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:d,s:I,s:O,s:O,s:O,s:d,s:d}",
	    "keys", (u)s->keys, "used_bytes", (u)s->used_bytes, "committed_bytes", (u)s->committed_bytes,
	    "max_bytes", (u)s->max_bytes, "hits", (u)s->hits, "misses", (u)s->misses, "sets", (u)s->sets,
	    "deletes", (u)s->deletes, "expired", (u)s->expired, "resizes", (u)s->resizes,
	    "recovered_members", (u)s->recovered_members, "index_buckets", (u)s->index_buckets,
	    "index_lines", (u)s->index_lines, "index_load", index_load(s), "members", s->members,
	    "auth", s->auth ? Py_True : Py_False, "encryption", s->encryption ? Py_True : Py_False,
	    "pickle", s->flags & LTZ_NO_PICKLE ? Py_False : Py_True,
	    "created_at", seconds(s->created_ms), "age", age(s));
}

PyObject *lz_pool_stats(PyObject *object, PyObject *Py_UNUSED(unused))
{
	lz_pool *self = (lz_pool *)object;
	struct ltz_stats stats;
	ltz_pool *handle = lz_enter(self);

	if (handle == NULL)
		return NULL;
	PyThreadState *thread = lz_release(self);
	int result = ltz_get_stats(handle, &stats);
	lz_reacquire(self, thread);
	lz_leave(self);
	return result < 0 ? lz_raise(self->state, result) : stats_dict(&stats);
}

static PyObject *member_dict(const struct ltz_member_info *m)
{
	typedef unsigned long long u;
	PyObject *program = PyUnicode_DecodeUTF8(m->program, (Py_ssize_t)strnlen(m->program, sizeof(m->program)),
	                                         "replace");

	if (program == NULL)
		return NULL;
	return Py_BuildValue("{s:I,s:I,s:N,s:d,s:d,s:K,s:K,s:K,s:K,s:K,s:I,s:O}",
	                     "pid", m->pid, "uid", m->uid, "program", program,
	                     "joined_at", seconds(m->joined_ms), "last_heartbeat", seconds(m->heartbeat_ms),
	                     "ops", (u)(m->hits + m->misses + m->sets + m->deletes),
	                     "hits", (u)m->hits, "misses", (u)m->misses, "sets", (u)m->sets,
	                     "deletes", (u)m->deletes, "views", m->views,
	                     "self", m->self ? Py_True : Py_False);
}

/* An exception in it ends the visit. */
static int append_member(void *list, const struct ltz_member_info *info)
{
	PyObject *dict = member_dict(info);
	int result = dict == NULL ? -1 : PyList_Append(list, dict);

	Py_XDECREF(dict);
	return result < 0 ? 1 : 0;
}

PyObject *lz_pool_members(PyObject *object, PyObject *Py_UNUSED(unused))
{
	lz_pool *self = (lz_pool *)object;
	PyObject *list = PyList_New(0);
	ltz_pool *handle = list == NULL ? NULL : lz_enter(self);

	if (handle == NULL) {
		Py_XDECREF(list);
		return NULL;
	}
	int result = ltz_members(handle, append_member, list);
	lz_leave(self);
	if (result < 0)
		lz_raise(self->state, result);
	if (result != 0)
		Py_CLEAR(list);
	return list;
}

/* ---- check ---------------------------------------------------------------------------- */

/* Lines, each ended by '\n', collected without the GIL. */
struct report {
	char *text;
	size_t used, capacity;
	bool no_memory;
};

static void add_line(void *context, const char *line)
{
	struct report *report = context;
	size_t size = strlen(line);

	if (report->used + size + 1 > report->capacity) {
		size_t capacity = 2 * (report->used + size + 1);
		char *larger = PyMem_RawRealloc(report->text, capacity);
		if (larger == NULL) {
			report->no_memory = true;
			return;
		}
		report->text = larger;
		report->capacity = capacity;
	}
	memcpy(report->text + report->used, line, size);
	report->text[report->used + size] = '\n';
	report->used += size + 1;
}

static PyObject *report_list(const struct report *report)
{
	if (report->no_memory)
		return PyErr_NoMemory();
	PyObject *text = PyUnicode_DecodeUTF8(report->text, (Py_ssize_t)report->used, "replace");
	if (text == NULL)
		return NULL;
	PyObject *lines = PyUnicode_Splitlines(text, 0);
	Py_DECREF(text);
	return lines;
}

PyObject *lz_pool_check(PyObject *object, PyObject *Py_UNUSED(unused))
{
	lz_pool *self = (lz_pool *)object;
	struct report report = {0};
	ltz_pool *handle = lz_enter(self);

	if (handle == NULL)
		return NULL;
	PyThreadState *thread = lz_release(self);
	int result = ltz_check(handle, add_line, &report);
	lz_reacquire(self, thread);
	lz_leave(self);
	PyObject *lines = result < 0 ? lz_raise(self->state, result) : report_list(&report);
	PyMem_RawFree(report.text);
	return lines;
}
