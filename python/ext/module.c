/* SPDX-License-Identifier: MIT */
/*
 * module.c - latzero._core: its state, and the calls that work on names.
 *
 * These calls wait (up to their timeout) and enter the system, so each
 * releases the GIL. ltz_error_detail() is this thread's: it is read after the
 * GIL came back, with no library call between.
 *
 * The module can be loaded in several interpreters of a process, also with
 * their own GILs: all of its state is in struct lz_state, but for fork.c,
 * which serves the main interpreter.
 */
#include <errno.h>

#include "core.h"

/* ---- pools by name ----------------------------------------------------------------- */

typedef int open_function(const char *name, const struct ltz_open_options *options, ltz_pool **out);

/* options: but for the key. */
static PyObject *open_pool(PyObject *module, PyTypeObject *type, open_function *open, const char *doing,
                           const char *name, struct ltz_open_options *options, PyObject *key)
{
	struct lz_state *state = lz_state_of(module);
	struct lz_secret secret;
	ltz_pool *handle = NULL;
	int result;

	if (lz_secret_take(key, &secret) < 0)
		return NULL;
	options->key = secret.data;
	options->key_size = secret.size;
	Py_BEGIN_ALLOW_THREADS
	result = open(name, options, &handle);
	Py_END_ALLOW_THREADS
	PyObject *pool = result < 0 ? lz_raise_open(state, result, doing, name) : lz_pool_wrap(state, type, handle);
	lz_secret_drop(&secret);
	return pool;
}

static PyObject *core_create(PyObject *module, PyObject *args)
{
	PyTypeObject *type;
	const char *name;
	unsigned long long max_size;
	unsigned flags;
	PyObject *key;

	if (!PyArg_ParseTuple(args, "O!sKIO:create", &PyType_Type, &type, &name, &max_size, &flags, &key))
		return NULL;
	struct ltz_open_options options = {.max_size_bytes = max_size, .flags = flags};
	return open_pool(module, type, ltz_create, "create", name, &options, key);
}

static PyObject *core_connect(PyObject *module, PyObject *args)
{
	PyTypeObject *type;
	const char *name;
	unsigned flags, timeout_ms;
	PyObject *key;

	if (!PyArg_ParseTuple(args, "O!sIIO:connect", &PyType_Type, &type, &name, &flags, &timeout_ms, &key))
		return NULL;
	struct ltz_open_options options = {.flags = flags, .timeout_ms = timeout_ms};
	return open_pool(module, type, ltz_connect, "connect to", name, &options, key);
}

static PyObject *core_join(PyObject *module, PyObject *args)
{
	struct lz_state *state = lz_state_of(module);
	PyTypeObject *type;
	const char *name;
	int fds[LTZ_EXPORT_FDS], result;
	unsigned flags;
	ltz_pool *handle = NULL;

	if (!PyArg_ParseTuple(args, "O!siiiI:join", &PyType_Type, &type, &name, &fds[0], &fds[1], &fds[2], &flags))
		return NULL;
	struct ltz_open_options options = {.flags = flags};
	Py_BEGIN_ALLOW_THREADS
	result = ltz_import(name, fds, &options, &handle);
	Py_END_ALLOW_THREADS
	if (result < 0)
		return lz_raise_open(state, result, "join the parent's", name);
	return lz_pool_wrap(state, type, handle);
}

static PyObject *core_exists(PyObject *module, PyObject *args)
{
	const char *name;
	int result;

	if (!PyArg_ParseTuple(args, "s:exists", &name))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	result = ltz_exists(name, NULL);
	Py_END_ALLOW_THREADS
	if (result == -ENOENT)
		Py_RETURN_FALSE;
	if (result < 0)
		return lz_raise_open(lz_state_of(module), result, "look for", name);
	Py_RETURN_TRUE;
}

static PyObject *core_destroy(PyObject *module, PyObject *args)
{
	struct ltz_open_options options = {0};
	struct lz_secret secret;
	const char *name;
	PyObject *key;
	int result;

	if (!PyArg_ParseTuple(args, "sIO:destroy", &name, &options.flags, &key) || lz_secret_take(key, &secret) < 0)
		return NULL;
	options.key = secret.data;
	options.key_size = secret.size;
	Py_BEGIN_ALLOW_THREADS
	result = ltz_destroy(name, &options);
	Py_END_ALLOW_THREADS
	if (result < 0)
		lz_raise_open(lz_state_of(module), result, "destroy", name);
	lz_secret_drop(&secret);
	if (result < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *core_harden(PyObject *module, PyObject *Py_UNUSED(unused))
{
	int result = ltz_harden();

	if (result < 0)
		return lz_raise(lz_state_of(module), result);
	Py_RETURN_NONE;
}

/* ---- list ---------------------------------------------------------------------------- */

struct found {
	struct ltz_pool_info *infos;
	size_t count, capacity;
};

/* Runs without the GIL. */
static int append_info(void *context, const struct ltz_pool_info *info)
{
	struct found *found = context;

	if (found->count == found->capacity) {
		size_t capacity = found->capacity == 0 ? 16 : 2 * found->capacity;
		void *larger = PyMem_RawRealloc(found->infos, capacity * sizeof(*found->infos));
		if (larger == NULL)
			return -ENOMEM;
		found->infos = larger;
		found->capacity = capacity;
	}
	found->infos[found->count++] = *info;
	return 0;
}

/* (name, auth, encryption, members, keys, used, max, created, heartbeat); None for what is not known. */
static PyObject *info_tuple(const struct ltz_pool_info *info)
{
	typedef unsigned long long u;

	if (!info->answered)
		return Py_BuildValue("(sOOOOOOOO)", info->name, Py_None, Py_None, Py_None, Py_None, Py_None,
		                     Py_None, Py_None, Py_None);
	return Py_BuildValue("(sOOIKKKdd)", info->name, info->auth ? Py_True : Py_False,
	                     info->encryption ? Py_True : Py_False, info->members, (u)info->keys,
	                     (u)info->used_bytes, (u)info->max_bytes, (double)info->created_ms / 1000.0,
	                     (double)info->heartbeat_ms / 1000.0);
}

static PyObject *core_list(PyObject *module, PyObject *Py_UNUSED(unused))
{
	struct found found = {0};
	int result;
	PyObject *list = NULL;

	Py_BEGIN_ALLOW_THREADS
	result = ltz_list(NULL, append_info, &found);
	Py_END_ALLOW_THREADS
	if (result < 0)
		lz_raise_open(lz_state_of(module), result, "list pools", NULL);
	else
		list = PyList_New(0);
	for (size_t i = 0; list != NULL && i < found.count; i++) {
		PyObject *tuple = info_tuple(&found.infos[i]);
		if (tuple == NULL || PyList_Append(list, tuple) < 0)
			Py_CLEAR(list);
		Py_XDECREF(tuple);
	}
	PyMem_RawFree(found.infos);
	return list;
}

static PyObject *core_adopt(PyObject *module, PyObject *type)
{
	if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, lz_state_of(module)->pool_type)) {
		PyErr_SetString(PyExc_TypeError, "a subclass of Pool is needed");
		return NULL;
	}
	if (lz_pool_adopt_methods((PyTypeObject *)type) < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* ---- the module ------------------------------------------------------------------------ */

static PyMethodDef core_functions[] = {
	{"create", core_create, METH_VARARGS, PyDoc_STR("create(type, name, max_size, flags, key)")},
	{"connect", core_connect, METH_VARARGS, PyDoc_STR("connect(type, name, flags, timeout_ms, key)")},
	{"join", core_join, METH_VARARGS, PyDoc_STR("join(type, name, memory_fd, listener_fd, key_fd, flags)\n\n"
	 "Takes the descriptors over; key_fd may be -1.")},
	{"exists", core_exists, METH_VARARGS, PyDoc_STR("exists(name)")},
	{"destroy", core_destroy, METH_VARARGS, PyDoc_STR("destroy(name, flags, key)")},
	{"harden", core_harden, METH_NOARGS, PyDoc_STR("harden($module, /)\n--\n\n"
	 "Let nobody of this user look into this process (PR_SET_DUMPABLE 0).\n\n"
	 "No ptrace, no /proc/PID/mem, no core dump: also not by debuggers and profilers. It is\n"
	 "for the whole process and all its threads; a forked child keeps it, exec undoes it.\n"
	 "Importing latzero never does this. Root can still look.")},
	{"list_pools", core_list, METH_NOARGS, PyDoc_STR("list_pools()")},
	{"adopt_methods", core_adopt, METH_O, PyDoc_STR("adopt_methods(type)")},
	{"_fork_before", lz_fork_before, METH_NOARGS, NULL},
	{"_fork_parent", lz_fork_parent, METH_NOARGS, NULL},
	{"_fork_child", lz_fork_child, METH_NOARGS, NULL},
	{0},
};

static int core_exec(PyObject *module)
{
	struct lz_state *state = lz_state_of(module);

	if (lz_errors_init(state) < 0)
		return -1;
	state->pool_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &lz_pool_spec, NULL);
	if (state->pool_type == NULL || PyModule_AddType(module, state->pool_type) < 0)
		return -1;
	if (PyModule_AddStringConstant(module, "__version__", LTZ_VERSION_STRING) < 0 ||
	    PyModule_AddIntConstant(module, "READONLY", LTZ_READONLY) < 0 ||
	    PyModule_AddIntConstant(module, "NO_PICKLE", LTZ_NO_PICKLE) < 0 ||
	    PyModule_AddIntConstant(module, "AUTH", LTZ_AUTH) < 0 ||
	    PyModule_AddIntConstant(module, "ENCRYPTION", LTZ_ENCRYPTION) < 0 ||
	    PyModule_AddIntConstant(module, "RAW_KEY", LTZ_RAW_KEY) < 0 ||
	    PyModule_AddIntConstant(module, "PASSWORD_MAX", LTZ_PASSWORD_MAX) < 0)
		return -1;
	return lz_fork_init(module);
}

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct lz_state *state = lz_state_of(module);

	for (int i = 0; i < LZ_ERROR_COUNT; i++)
		Py_VISIT(state->errors[i]);
	Py_VISIT(state->pickle_dumps);
	Py_VISIT(state->pickle_loads);
	Py_VISIT(state->pickle_protocol);
	Py_VISIT(state->pool_type);
	return 0;
}

static int core_clear(PyObject *module)
{
	struct lz_state *state = lz_state_of(module);

	for (int i = 0; i < LZ_ERROR_COUNT; i++)
		Py_CLEAR(state->errors[i]);
	Py_CLEAR(state->pickle_dumps);
	Py_CLEAR(state->pickle_loads);
	Py_CLEAR(state->pickle_protocol);
	Py_CLEAR(state->pool_type);
	return 0;
}

static PyModuleDef_Slot core_slots[] = {
	{Py_mod_exec, core_exec},
#ifdef Py_mod_multiple_interpreters
	{Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
	{Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
	{0},
};

static struct PyModuleDef core_module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "latzero._core",
	.m_doc = PyDoc_STR("The C side of latzero; use the package latzero."),
	.m_size = sizeof(struct lz_state),
	.m_methods = core_functions,
	.m_slots = core_slots,
	.m_traverse = core_traverse,
	.m_clear = core_clear,
};

PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&core_module);
}
