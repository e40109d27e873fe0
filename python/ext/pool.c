/* SPDX-License-Identifier: MIT */
/*
 * pool.c - the type _core.Pool: its methods, its life.
 *
 * ltz_close(h) must not run beside a call on h. With a GIL, a call that holds
 * it is alone; only a call that released it inside (lz_release) can still run
 * when close() comes. Without a GIL every call can. So such calls are counted,
 * close() only says LZ_CLOSING, and whoever is last (the last call, or close()
 * itself when there is none) gives the handle back:
 *
 *     calls = [LZ_CLOSING | number of calls in flight]
 *     live    what new calls use; NULL from close() on
 *     handle  taken exactly once, by whoever gives it to ltz_close
 *
 * Nobody waits, so a close() in a signal handler, in a finalizer, or in the
 * code of an unpickled object cannot lock up.
 *
 * With a GIL all of this is plain memory under the GIL; without one, atomics.
 */
#include <stddef.h>

#include "core.h"

#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h> /* part of Python.h since 3.12 */
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY
#endif

/* ---- calls in flight --------------------------------------------------------- */

/*
 * A fork copies the count, but not the threads whose calls it counts. In the
 * child the forking thread is alone, and it was in no call.
 */
static void forget_calls_before_fork(lz_pool *self)
{
	unsigned forks = __atomic_load_n(&lz_forks, __ATOMIC_RELAXED);

	if (self->forks != forks) {
		self->forks = forks;
		self->calls &= LZ_CLOSING;
	}
}

static void give_back(lz_pool *self)
{
	ltz_pool *handle = __atomic_exchange_n(&self->handle, NULL, __ATOMIC_ACQ_REL);

	if (handle == NULL)
		return;
	Py_BEGIN_ALLOW_THREADS
	ltz_close(handle);
	Py_END_ALLOW_THREADS
}

static void begin_call(lz_pool *self)
{
	forget_calls_before_fork(self);
	__atomic_fetch_add(&self->calls, 1, __ATOMIC_ACQ_REL);
}

static void end_call(lz_pool *self)
{
	if (__atomic_sub_fetch(&self->calls, 1, __ATOMIC_ACQ_REL) == LZ_CLOSING)
		give_back(self);
}

ltz_pool *lz_enter_slow(lz_pool *self)
{
#ifdef Py_GIL_DISABLED
	begin_call(self);
	ltz_pool *handle = __atomic_load_n(&self->live, __ATOMIC_ACQUIRE);
	if (handle != NULL)
		return handle;
	end_call(self);
#endif
	lz_raise_closed(self->state);
	return NULL;
}

void lz_leave_slow(lz_pool *self)
{
	end_call(self);
}

PyThreadState *lz_release(lz_pool *self)
{
#ifndef Py_GIL_DISABLED
	begin_call(self);
#else
	(void)self; /* lz_enter counted this call */
#endif
	return PyEval_SaveThread();
}

void lz_reacquire(lz_pool *self, PyThreadState *thread)
{
	PyEval_RestoreThread(thread);
#ifndef Py_GIL_DISABLED
	end_call(self);
#else
	(void)self;
#endif
}

static PyObject *pool_close(PyObject *object, PyObject *Py_UNUSED(unused))
{
	lz_pool *self = (lz_pool *)object;

	forget_calls_before_fork(self);
	__atomic_store_n(&self->live, NULL, __ATOMIC_SEQ_CST);
	if ((__atomic_or_fetch(&self->calls, LZ_CLOSING, __ATOMIC_SEQ_CST) & ~LZ_CLOSING) == 0)
		give_back(self);
	Py_RETURN_NONE;
}

/* ---- life --------------------------------------------------------------------- */

PyObject *lz_pool_wrap(struct lz_state *state, PyTypeObject *type, ltz_pool *handle)
{
	lz_pool *self = NULL;
	PyObject *name = PyUnicode_FromString(ltz_name(handle));

	if (!PyType_IsSubtype(type, state->pool_type))
		PyErr_Format(PyExc_TypeError, "%.100s is not a subclass of Pool", type->tp_name);
	else if (name != NULL)
		self = (lz_pool *)type->tp_alloc(type, 0); /* zeroed */
	if (self == NULL) {
		Py_XDECREF(name);
		ltz_close(handle);
		return NULL;
	}
	unsigned flags = ltz_flags(handle);
	self->state = state;
	self->name = name;
	self->handle = handle;
	self->live = handle;
	self->forks = __atomic_load_n(&lz_forks, __ATOMIC_RELAXED);
	self->readonly = (flags & LTZ_READONLY) != 0;
	self->no_pickle = (flags & LTZ_NO_PICKLE) != 0;
	return (PyObject *)self;
}

static PyObject *pool_new(PyTypeObject *Py_UNUSED(type), PyObject *Py_UNUSED(args),
                          PyObject *Py_UNUSED(kwargs))
{
	PyErr_SetString(PyExc_TypeError, "a Pool comes from SharedMemoryPool.create() or .connect()");
	return NULL;
}

static void pool_dealloc(PyObject *object)
{
	lz_pool *self = (lz_pool *)object;
	PyTypeObject *type = Py_TYPE(object);

	if (PyType_IS_GC(type))
		PyObject_GC_UnTrack(object);
	if (self->weak_references != NULL)
		PyObject_ClearWeakRefs(object);
	/* no call is in flight: it would hold a reference */
	give_back(self);
	Py_CLEAR(self->name);
	type->tp_free(object);
	Py_DECREF(type);
}

/* ---- attributes ------------------------------------------------------------------ */

static PyObject *pool_name(PyObject *object, void *Py_UNUSED(closure))
{
	return Py_NewRef(((lz_pool *)object)->name);
}

static PyObject *pool_readonly(PyObject *object, void *Py_UNUSED(closure))
{
	return PyBool_FromLong(((lz_pool *)object)->readonly);
}

static PyObject *pool_closed(PyObject *object, void *Py_UNUSED(closure))
{
	return PyBool_FromLong(__atomic_load_n(&((lz_pool *)object)->live, __ATOMIC_ACQUIRE) == NULL);
}

static PyObject *pool_export(PyObject *object, PyObject *Py_UNUSED(unused))
{
	lz_pool *self = (lz_pool *)object;
	int fds[LTZ_EXPORT_FDS];
	ltz_pool *handle = lz_enter(self);

	if (handle == NULL)
		return NULL;
	int result = ltz_export(handle, fds);
	lz_leave(self);
	return result < 0 ? lz_raise(self->state, result) : Py_BuildValue("(iii)", fds[0], fds[1], fds[2]);
}

/* ---- the type ------------------------------------------------------------------------ */

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef pool_methods[] = {
	{"get", FAST(lz_pool_get), PyDoc_STR("get($self, /, key, default=None)\n--\n\n"
	 "The value of key, or default.")},
	{"set", FAST(lz_pool_set), PyDoc_STR("set($self, /, key, value, auto_clean=None, *, nx=False, "
	 "xx=False, keep_ttl=False, if_version=None)\n--\n\n"
	 "Write a value.\n\n"
	 "auto_clean: seconds (int or float > 0) after which the key is gone, to the millisecond;\n"
	 "a plain set clears an earlier one. nx: only if the key is absent. xx: only if it is\n"
	 "there. keep_ttl: keep the old auto_clean. if_version: only if get_versioned() would give\n"
	 "this version; 0: only if absent. Returns False when one of these said no, else True.\n\n"
	 "Linearizable for each key; any thread, any process. Raises PoolFullError,\n"
	 "SerializationError, UnsafePickleError, ReadOnlyError, ValueError, TypeError; the old\n"
	 "value is then still there.")},
	{"setdefault", FAST(lz_pool_setdefault), PyDoc_STR("setdefault($self, /, key, default=None)\n--\n\n"
	 "The value of key; if it is missing, store default and return it. Atomic.")},
	{"pop", (PyCFunction)(void (*)(void))lz_pool_pop, METH_FASTCALL, PyDoc_STR("pop(key[, default])\n\n"
	 "Remove key and return its value, atomically; if missing default, else KeyError.")},
	{"exists", lz_pool_exists, METH_O, PyDoc_STR("exists($self, key, /)\n--\n\n"
	 "Whether the key is there now.")},
	{"delete", lz_pool_delete, METH_O, PyDoc_STR("delete($self, key, /)\n--\n\n"
	 "Remove key. False if it was not there.")},
	{"get_versioned", lz_pool_get_versioned, METH_O, PyDoc_STR("get_versioned($self, key, /)\n--\n\n"
	 "(value, version). version is an int > 0 that changes with every write of the key and\n"
	 "never comes back. KeyError if missing.")},
	{"increment", FAST(lz_pool_increment), PyDoc_STR("increment($self, /, key, by=1, *, initial=0)\n--\n\n"
	 "Add by (int of any size, or float) atomically and return the sum.\n\n"
	 "A missing key counts as initial. Keeps auto_clean. TypeError, and nothing changed, when\n"
	 "the value is no number; a bool is none.")},
	{"decrement", FAST(lz_pool_decrement), PyDoc_STR("decrement($self, /, key, by=1, *, initial=0)\n--\n\n"
	 "increment(key, -by).")},
	{"ttl", lz_pool_ttl, METH_O, PyDoc_STR("ttl($self, key, /)\n--\n\n"
	 "Seconds until auto_clean removes the key, None if it stays. KeyError if missing.")},
	{"expire", FAST(lz_pool_expire), PyDoc_STR("expire($self, /, key, seconds)\n--\n\n"
	 "Set auto_clean of an existing key. False if it is missing.")},
	{"persist", lz_pool_persist, METH_O, PyDoc_STR("persist($self, key, /)\n--\n\n"
	 "Take auto_clean away. False if the key is missing.")},
	{"mget", lz_pool_mget, METH_O, PyDoc_STR("mget($self, keys, /)\n--\n\n"
	 "A dict of those keys that are there. Each key is read atomically, the batch is not.")},
	{"mset", FAST(lz_pool_mset), PyDoc_STR("mset($self, /, mapping, auto_clean=None)\n--\n\n"
	 "Write every item of a mapping. Each key is written atomically, the batch is not: an\n"
	 "error leaves the items before it written.")},
	{"delete_many", lz_pool_delete_many, METH_O, PyDoc_STR("delete_many($self, keys, /)\n--\n\n"
	 "Remove the keys; the number of those that were there.")},
	{"clear", lz_pool_clear, METH_NOARGS, PyDoc_STR("clear($self, /)\n--\n\n"
	 "Remove every key that is there when its place is reached.")},
	{"_scan", FAST(lz_pool_scan), PyDoc_STR("_scan($self, cursor, count, prefix, /)\n--\n\n"
	 "(cursor, [key, ...]).")},
	{"stats", lz_pool_stats, METH_NOARGS, PyDoc_STR("stats($self, /)\n--\n\n"
	 "Figures of the pool as a dict of int, float and bool; sizes in bytes, times in seconds.")},
	{"members", lz_pool_members, METH_NOARGS, PyDoc_STR("members($self, /)\n--\n\n"
	 "One dict for each living member process; times are Unix times in seconds.")},
	{"check", lz_pool_check, METH_NOARGS, PyDoc_STR("check($self, /)\n--\n\n"
	 "Walk the whole pool; one line for each broken invariant, none when it is sound. Safe\n"
	 "while others work.")},
	{"_export", pool_export, METH_NOARGS, PyDoc_STR("_export($self, /)\n--\n\n"
	 "The descriptors by which a child process joins: memory, socket, key (-1: none). They are\n"
	 "the caller's to close.")},
	{"close", pool_close, METH_NOARGS, PyDoc_STR("close($self, /)\n--\n\n"
	 "Leave the pool. Later calls raise PoolClosedError; calls that run now end first.\n"
	 "Closing again does nothing.")},
	{0},
};

static PyGetSetDef pool_attributes[] = {
	{"name", pool_name, NULL, PyDoc_STR("The pool's name."), NULL},
	{"readonly", pool_readonly, NULL, PyDoc_STR("Whether this handle refuses to write."), NULL},
	{"closed", pool_closed, NULL, PyDoc_STR("Whether close() was called."), NULL},
	{0},
};

static PyMemberDef pool_members[] = {
	{"__weaklistoffset__", Py_T_PYSSIZET, offsetof(lz_pool, weak_references), Py_READONLY, NULL},
	{0},
};

static PyType_Slot pool_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("A shared memory pool; see latzero.Pool.")},
	{Py_tp_new, pool_new},
	{Py_tp_dealloc, pool_dealloc},
	{Py_tp_methods, pool_methods},
	{Py_tp_getset, pool_attributes},
	{Py_tp_members, pool_members},
	{Py_mp_subscript, lz_pool_subscript},
	{Py_mp_ass_subscript, lz_pool_assign},
	{Py_mp_length, lz_pool_length},
	{Py_sq_contains, lz_pool_contains},
	{0},
};

PyType_Spec lz_pool_spec = {
	.name = "latzero._core.Pool",
	.basicsize = sizeof(lz_pool),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = pool_slots,
};

int lz_pool_adopt_methods(PyTypeObject *type)
{
	for (PyMethodDef *method = pool_methods; method->ml_name != NULL; method++) {
		PyObject *descriptor = PyDescr_NewMethod(type, method);
		if (descriptor == NULL)
			return -1;
		int result = PyObject_SetAttrString((PyObject *)type, method->ml_name, descriptor);
		Py_DECREF(descriptor);
		if (result < 0)
			return -1;
	}
	return 0;
}
