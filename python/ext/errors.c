/* SPDX-License-Identifier: MIT */
/*
 * errors.c - one table from the library's results to Python's exceptions.
 *
 * The classes are Python's (latzero/_errors.py); they are looked up once for
 * each interpreter. Every message is one line: it goes to terminals and logs.
 */
#include <errno.h>

#include "core.h"

static const char *const error_names[LZ_ERROR_COUNT] = {
	[LZ_ERROR_BASE] = "LatzeroError",
	[LZ_POOL_NOT_FOUND] = "PoolNotFoundError",
	[LZ_POOL_EXISTS] = "PoolExistsError",
	[LZ_READ_ONLY] = "ReadOnlyError",
	[LZ_POOL_FULL] = "PoolFullError",
	[LZ_POOL_CLOSED] = "PoolClosedError",
	[LZ_POOL_TIMEOUT] = "PoolTimeoutError",
	[LZ_AUTHENTICATION] = "AuthenticationError",
	[LZ_INTEGRITY] = "IntegrityError",
	[LZ_CORRUPTION] = "CorruptionError",
	[LZ_SERIALIZATION] = "SerializationError",
	[LZ_UNSAFE_PICKLE] = "UnsafePickleError",
};

static const struct {
	int result;
	enum lz_error error;
} error_table[] = {
	{-ENOENT, LZ_POOL_NOT_FOUND},
	{-EEXIST, LZ_POOL_EXISTS},
	{-EROFS, LZ_READ_ONLY},
	{-ENOSPC, LZ_POOL_FULL},
	{-EBUSY, LZ_POOL_FULL}, /* of members */
	{-ESHUTDOWN, LZ_POOL_CLOSED},
	{-ETIMEDOUT, LZ_POOL_TIMEOUT},
	{-EKEYREJECTED, LZ_AUTHENTICATION},
	{-EBADMSG, LZ_INTEGRITY},
	{-EUCLEAN, LZ_CORRUPTION},
	{-EPROTO, LZ_ERROR_BASE},
};

int lz_errors_init(struct lz_state *state)
{
	PyObject *module = PyImport_ImportModule("latzero._errors");
	if (module == NULL)
		return -1;
	for (int i = 0; i < LZ_ERROR_COUNT; i++) {
		state->errors[i] = PyObject_GetAttrString(module, error_names[i]);
		if (state->errors[i] == NULL) {
			Py_DECREF(module);
			return -1;
		}
	}
	Py_DECREF(module);
	return 0;
}

/* The class for a result; NULL: an OSError with that errno. */
static PyObject *class_of(struct lz_state *state, int result)
{
	for (size_t i = 0; i < sizeof(error_table) / sizeof(error_table[0]); i++) {
		if (error_table[i].result == result)
			return state->errors[error_table[i].error];
	}
	if (result == -EINVAL)
		return PyExc_ValueError;
	return NULL;
}

static PyObject *raise_with(struct lz_state *state, int result, PyObject *message)
{
	PyObject *class = class_of(state, result);

	if (message == NULL)
		return NULL;
	if (class != NULL) {
		PyErr_SetObject(class, message);
	} else {
		PyObject *args = Py_BuildValue("(iO)", -result, message);
		if (args != NULL)
			PyErr_SetObject(PyExc_OSError, args); /* picks the subclass by errno */
		Py_XDECREF(args);
	}
	Py_DECREF(message);
	return NULL;
}

PyObject *lz_raise(struct lz_state *state, int result)
{
	if (result == -ENOMEM)
		return PyErr_NoMemory();
	if (result == -EROFS)
		return lz_raise_readonly(state);
	if (result == -ESHUTDOWN) { /* not closed: lz_enter would have said so */
		PyErr_SetString(state->errors[LZ_POOL_CLOSED], "this pool was destroyed");
		return NULL;
	}
	return raise_with(state, result, PyUnicode_FromString(ltz_strerror(result)));
}

/* Long keys are cut: a message is for people. */
static PyObject *describe_key(struct lz_state *state, const ltz_key *key)
{
	enum { SHOWN = 100 };
	PyObject *object = lz_key_decode(state, key->type, key->data, key->size), *text = NULL;

	if (object != NULL)
		text = PyObject_Repr(object);
	Py_XDECREF(object);
	if (text != NULL && PyUnicode_GET_LENGTH(text) > SHOWN) {
		PyObject *start = PyUnicode_Substring(text, 0, SHOWN);
		Py_SETREF(text, start == NULL ? NULL : PyUnicode_FromFormat("%U...", start));
		Py_XDECREF(start);
	}
	return text;
}

PyObject *lz_raise_key(struct lz_state *state, int result, const ltz_key *key)
{
	if (result != -EBADMSG)
		return lz_raise(state, result);
	PyObject *text = describe_key(state, key);
	if (text == NULL)
		return NULL;
	PyErr_Format(state->errors[LZ_INTEGRITY],
	             "the record of key %U fails its check: somebody changed the memory by other means", text);
	Py_DECREF(text);
	return NULL;
}

/* AuthenticationError(message, retry_after=seconds); steals message. */
static PyObject *raise_rejected(struct lz_state *state, PyObject *message)
{
	unsigned retry_ms = ltz_retry_after_ms();
	PyObject *args = message == NULL ? NULL : PyTuple_Pack(1, message);
	PyObject *more = args == NULL || retry_ms == 0 ? NULL : Py_BuildValue("{s:d}", "retry_after", retry_ms / 1000.0);

	if (args != NULL && (retry_ms == 0 || more != NULL)) {
		PyObject *error = PyObject_Call(state->errors[LZ_AUTHENTICATION], args, more);
		if (error != NULL)
			PyErr_SetObject(state->errors[LZ_AUTHENTICATION], error);
		Py_XDECREF(error);
	}
	Py_XDECREF(message);
	Py_XDECREF(args);
	Py_XDECREF(more);
	return NULL;
}

PyObject *lz_raise_open(struct lz_state *state, int result, const char *doing, const char *name)
{
	const char *detail = ltz_error_detail();
	PyObject *message;

	if (result == -ENOMEM)
		return PyErr_NoMemory();
	if (detail[0] == '\0')
		detail = ltz_strerror(result);
	if (name != NULL)
		message = PyUnicode_FromFormat("cannot %s pool '%s': %s", doing, name, detail);
	else
		message = PyUnicode_FromFormat("cannot %s: %s", doing, detail);
	if (result == -EKEYREJECTED)
		return raise_rejected(state, message);
	return raise_with(state, result, message);
}

PyObject *lz_raise_closed(struct lz_state *state)
{
	PyErr_SetString(state->errors[LZ_POOL_CLOSED], "this pool handle is closed; connect() again");
	return NULL;
}

PyObject *lz_raise_readonly(struct lz_state *state)
{
	PyErr_SetString(state->errors[LZ_READ_ONLY], "this pool was connected with readonly=True");
	return NULL;
}

void lz_chain(PyObject *type, const char *format, ...)
{
	PyObject *old_type, *old, *old_trace, *new_type, *new, *new_trace;
	va_list arguments;

	PyErr_Fetch(&old_type, &old, &old_trace);
	PyErr_NormalizeException(&old_type, &old, &old_trace);
	if (old != NULL && old_trace != NULL)
		PyException_SetTraceback(old, old_trace);

	va_start(arguments, format);
	PyErr_FormatV(type, format, arguments);
	va_end(arguments);

	PyErr_Fetch(&new_type, &new, &new_trace);
	PyErr_NormalizeException(&new_type, &new, &new_trace);
	if (new != NULL && old != NULL) {
		PyException_SetCause(new, Py_NewRef(old));
		PyException_SetContext(new, Py_NewRef(old));
	}
	PyErr_Restore(new_type, new, new_trace);
	Py_XDECREF(old_type);
	Py_XDECREF(old);
	Py_XDECREF(old_trace);
}
