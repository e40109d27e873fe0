/* SPDX-License-Identifier: MIT */
/*
 * core.h - what the files of the extension share.
 *
 * Words
 *   state    one interpreter's share of this module: exceptions, cached callables
 *   Pool     the Python object around one `ltz_pool *`
 *
 * Rules that every file keeps
 *   - Only Python.h, latzero.h and the libc are included.
 *   - Between lz_enter() and lz_leave() no Python code runs: it could close
 *     the pool. So keys and values are encoded before, results decoded after.
 *   - Encoding a key runs no Python code; encoding or decoding a value may
 *     (pickle).
 *   - The GIL is kept for copies of up to LZ_LARGE bytes, released for longer
 *     ones and for every call that waits or enters the system.
 */
#ifndef LATZERO_EXT_CORE_H
#define LATZERO_EXT_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include <latzero.h>

#define LZ_LARGE (256 * 1024) /* bytes; 256 KiB is about 20 us of copying, two switches of the GIL */
#define LZ_SMALL 1024         /* bytes of value that a get takes on the stack                     */
#define LZ_BATCH 16           /* keys that one ltz_prefetch brings near                           */

/* ---- module state -------------------------------------------------------------- */

/* The exceptions of latzero/_errors.py, in the order of errors.c. */
enum lz_error {
	LZ_ERROR_BASE,
	LZ_POOL_NOT_FOUND,
	LZ_POOL_EXISTS,
	LZ_READ_ONLY,
	LZ_POOL_FULL,
	LZ_POOL_CLOSED,
	LZ_POOL_TIMEOUT,
	LZ_AUTHENTICATION,
	LZ_INTEGRITY,
	LZ_CORRUPTION,
	LZ_SERIALIZATION,
	LZ_UNSAFE_PICKLE,
	LZ_ERROR_COUNT,
};

struct lz_state {
	PyObject *errors[LZ_ERROR_COUNT];
	PyObject *pickle_dumps, *pickle_loads; /* NULL until the first value needs them */
	PyObject *pickle_protocol;
	PyTypeObject *pool_type;
};

static inline struct lz_state *lz_state_of(PyObject *module)
{
	return PyModule_GetState(module);
}

/* ---- errors.c: results become exceptions ------------------------------------------ */

int lz_errors_init(struct lz_state *state);

/* Raises the exception for a negative result of a call on a joined pool. Returns NULL. */
PyObject *lz_raise(struct lz_state *state, int result);
/* The same for a call on one key, which an IntegrityError names. */
PyObject *lz_raise_key(struct lz_state *state, int result, const ltz_key *key);

/* The same for ltz_create, _connect, _exists, _list, _destroy, _import: adds what they were doing and why. */
PyObject *lz_raise_open(struct lz_state *state, int result, const char *doing, const char *name);

PyObject *lz_raise_closed(struct lz_state *state);
PyObject *lz_raise_readonly(struct lz_state *state);

/* Replaces the current exception by a new one of latzero's, with the old one as its cause. */
void lz_chain(PyObject *type, const char *format, ...);

/* ---- auth.c: passwords ------------------------------------------------------------ */

struct lz_secret {
	const void *data; /* NULL: none given */
	size_t size;
	PyObject *encoded; /* a copy of ours, wiped by lz_secret_drop; or NULL */
	Py_buffer buffer;  /* of a bytearray; buffer.obj NULL: unused          */
};

/* None, str, bytes or bytearray; the object must outlive `out`. 0, or -1 with TypeError or ValueError. */
int lz_secret_take(PyObject *object, struct lz_secret *out);
void lz_secret_drop(struct lz_secret *secret);

/* ---- args.c: arguments without a tuple -------------------------------------------- */

#define LZ_ARGS_MAX 8

struct lz_signature {
	const char *function;
	int required;   /* the first so many must be given                 */
	int positional; /* so many may be given by position, others by name */
	const char *names[LZ_ARGS_MAX + 1]; /* ends with NULL                */
};

/* Fills out[] (NULL: not given) with borrowed references. 0, or -1 with TypeError. */
int lz_args(const struct lz_signature *signature, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames, PyObject **out);

/* Seconds (int or float, > 0) as milliseconds rounded up. `what` names the argument. 0 or -1. */
int lz_milliseconds(PyObject *seconds, const char *what, uint64_t *ms);

/* ---- key.c ---------------------------------------------------------------------- */

struct lz_key {
	ltz_key key;     /* points into the Python object, inline_, or heap */
	void *heap;      /* freed by lz_key_drop                             */
	uint8_t inline_[64];
};

int lz_key_encode_slow(struct lz_state *state, PyObject *object, struct lz_key *out);

/* 0, or -1 with TypeError or ValueError. The object must outlive `out`. */
static inline int lz_key_encode(struct lz_state *state, PyObject *object, struct lz_key *out)
{
	out->heap = NULL;
	if (PyUnicode_CheckExact(object) && PyUnicode_IS_COMPACT_ASCII(object)) {
		Py_ssize_t size = PyUnicode_GET_LENGTH(object);
		if (size <= LTZ_KEY_MAX) {
			out->key.data = PyUnicode_1BYTE_DATA(object);
			out->key.size = (uint32_t)size;
			out->key.type = LTZ_KEY_STR;
			return 0;
		}
	}
	return lz_key_encode_slow(state, object, out);
}

static inline void lz_key_drop(struct lz_key *key)
{
	if (key->heap != NULL)
		PyMem_Free(key->heap);
}

/* A new key object, or NULL with SerializationError for bytes that are no key of that type. */
PyObject *lz_key_decode(struct lz_state *state, uint8_t type, const uint8_t *data, size_t size);

/* ---- int.c: integers of any size as bytes --------------------------------------------- */

/* Bytes that lz_int_write may need; -1 with an exception. */
Py_ssize_t lz_int_size(PyObject *integer);
/* Minimal two's complement, little endian, at least 1 byte, into `size` bytes. Returns the length or -1. */
Py_ssize_t lz_int_write(PyObject *integer, uint8_t *out, Py_ssize_t size);
PyObject *lz_int_read(const uint8_t *data, size_t size);

/* ---- value.c ---------------------------------------------------------------------- */

struct lz_value {
	ltz_value value;
	PyObject *owner;  /* holds the bytes: a pickle, an encoded str */
	void *heap;       /* a bigint                                  */
	Py_buffer buffer; /* of a bytearray; buffer.obj NULL: unused   */
	union {
		int64_t i64;
		double f64;
	} scalar;
};

int lz_value_encode_slow(struct lz_state *state, PyObject *object, bool no_pickle, struct lz_value *out);
void lz_value_drop_slow(struct lz_value *value);

/* 0, or -1 with SerializationError or UnsafePickleError. The object must outlive `out`. */
static inline int lz_value_encode(struct lz_state *state, PyObject *object, bool no_pickle,
                                  struct lz_value *out)
{
	out->owner = NULL;
	out->heap = NULL;
	out->buffer.obj = NULL;
	if (PyBytes_CheckExact(object)) {
		out->value.data = PyBytes_AS_STRING(object);
		out->value.size = (uint64_t)PyBytes_GET_SIZE(object);
		out->value.type = LTZ_BYTES;
		return 0;
	}
	if (PyUnicode_CheckExact(object) && PyUnicode_IS_COMPACT_ASCII(object)) {
		out->value.data = PyUnicode_1BYTE_DATA(object);
		out->value.size = (uint64_t)PyUnicode_GET_LENGTH(object);
		out->value.type = LTZ_STR;
		return 0;
	}
	return lz_value_encode_slow(state, object, no_pickle, out);
}

static inline void lz_value_drop(struct lz_value *value)
{
	if (value->owner != NULL || value->heap != NULL || value->buffer.obj != NULL)
		lz_value_drop_slow(value);
}

PyObject *lz_value_decode_slow(struct lz_state *state, uint8_t type, const void *data, size_t size,
                               bool no_pickle);

/* A new object, or NULL with SerializationError or UnsafePickleError. */
static inline PyObject *lz_value_decode(struct lz_state *state, uint8_t type, const void *data,
                                        size_t size, bool no_pickle)
{
	if (type == LTZ_INT64 && size == 8) {
		int64_t number;
		memcpy(&number, data, 8);
		return PyLong_FromLongLong(number);
	}
	return lz_value_decode_slow(state, type, data, size, no_pickle);
}

/* Unpickles a bytes object; steals it. */
PyObject *lz_value_unpickle(struct lz_state *state, PyObject *bytes, bool no_pickle);

/* ---- pool.c: the object and its calls in flight ------------------------------------------- */

typedef struct {
	PyObject_HEAD
	ltz_pool *live;   /* what calls use; NULL once close() was called            */
	ltz_pool *handle; /* what is still to be given to ltz_close; NULL afterwards */
	struct lz_state *state; /* of the module that the type keeps alive           */
	PyObject *name;         /* str; stays when closed                            */
	PyObject *weak_references;
	Py_ssize_t calls; /* in flight: see pool.c                                   */
	unsigned forks;   /* the value of lz_forks that `calls` belongs to           */
	bool readonly, no_pickle;
} lz_pool;

#define LZ_CLOSING ((Py_ssize_t)1 << (sizeof(Py_ssize_t) * 8 - 2))

extern unsigned lz_forks; /* fork.c: how many forks this process descends from */

ltz_pool *lz_enter_slow(lz_pool *self);
void lz_leave_slow(lz_pool *self);

/* The handle to use until lz_leave(), or NULL with PoolClosedError. */
static inline ltz_pool *lz_enter(lz_pool *self)
{
#ifdef Py_GIL_DISABLED
	return lz_enter_slow(self);
#else
	ltz_pool *handle = self->live;
	return __builtin_expect(handle != NULL, 1) ? handle : lz_enter_slow(self);
#endif
}

static inline void lz_leave(lz_pool *self)
{
#ifdef Py_GIL_DISABLED
	lz_leave_slow(self);
#else
	(void)self; /* whoever holds the GIL is the only call */
#endif
}

/* Releases the GIL inside a call, and takes it back. */
PyThreadState *lz_release(lz_pool *self);
void lz_reacquire(lz_pool *self, PyThreadState *thread);

/* A new object of class `type` around `handle`, which it takes over, also on failure. */
PyObject *lz_pool_wrap(struct lz_state *state, PyTypeObject *type, ltz_pool *handle);

extern PyType_Spec lz_pool_spec;

/*
 * Puts the methods of _core.Pool into `type`, a subclass, as its own: the
 * interpreter calls a method without checks only where the object's type is
 * exactly the method's.
 */
int lz_pool_adopt_methods(PyTypeObject *type);

/* ---- pool_read.c, pool_write.c, pool_number.c, pool_batch.c, pool_inspect.c ---------------- */

/*
 * Reads a value. A new object; or NULL: with *found true an exception is set,
 * with *found false there is no such key (or an exception is set).
 * item may not be NULL.
 */
PyObject *lz_fetch(lz_pool *self, const ltz_key *key, ltz_item *item, bool *found);

/* What is known of a key: ltz_get without a buffer. LTZ_OK, LTZ_NOT_FOUND, or -1 with an exception. */
int lz_peek(lz_pool *self, PyObject *key, ltz_item *item);

/* ltz_set, with the GIL released for large values. A result of ltz_set, or -1 with an exception. */
int lz_store(lz_pool *self, const ltz_key *key, const ltz_value *value,
             const struct ltz_set_options *options);

PyObject *lz_pool_subscript(PyObject *self, PyObject *key);
int lz_pool_assign(PyObject *self, PyObject *key, PyObject *value);
int lz_pool_contains(PyObject *self, PyObject *key);
Py_ssize_t lz_pool_length(PyObject *self);

#define LZ_FAST(name) \
	PyObject *name(PyObject *, PyObject *const *, Py_ssize_t, PyObject *)
LZ_FAST(lz_pool_get);
LZ_FAST(lz_pool_set);
LZ_FAST(lz_pool_setdefault);
LZ_FAST(lz_pool_increment);
LZ_FAST(lz_pool_decrement);
LZ_FAST(lz_pool_mset);
LZ_FAST(lz_pool_expire);
LZ_FAST(lz_pool_scan);
#undef LZ_FAST
PyObject *lz_pool_pop(PyObject *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *lz_pool_exists(PyObject *self, PyObject *key);
PyObject *lz_pool_delete(PyObject *self, PyObject *key);
PyObject *lz_pool_get_versioned(PyObject *self, PyObject *key);
PyObject *lz_pool_ttl(PyObject *self, PyObject *key);
PyObject *lz_pool_persist(PyObject *self, PyObject *key);
PyObject *lz_pool_mget(PyObject *self, PyObject *keys);
PyObject *lz_pool_delete_many(PyObject *self, PyObject *keys);
PyObject *lz_pool_clear(PyObject *self, PyObject *unused);
PyObject *lz_pool_stats(PyObject *self, PyObject *unused);
PyObject *lz_pool_members(PyObject *self, PyObject *unused);
PyObject *lz_pool_check(PyObject *self, PyObject *unused);

/* ---- fork.c ------------------------------------------------------------------------------- */

/* Registers this module's functions with os.register_at_fork. 0 or -1. */
int lz_fork_init(PyObject *module);
PyObject *lz_fork_before(PyObject *module, PyObject *unused);
PyObject *lz_fork_parent(PyObject *module, PyObject *unused);
PyObject *lz_fork_child(PyObject *module, PyObject *unused);

#endif
