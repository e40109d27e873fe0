/* SPDX-License-Identifier: MIT */
/*
 * args.c - arguments of METH_FASTCALL | METH_KEYWORDS methods, without a tuple
 * or a dict, with the messages that Python functions give.
 */
#include <math.h>

#include "core.h"

/* 2^53 - 1 milliseconds, 285,000 years: what a float of seconds counts exactly. */
#define MILLISECONDS_MAX (((uint64_t)1 << 53) - 1)

static int take_keyword(const struct lz_signature *signature, PyObject *name, PyObject *value,
                        PyObject **out)
{
	for (int i = 0; signature->names[i] != NULL; i++) {
		if (PyUnicode_CompareWithASCIIString(name, signature->names[i]) != 0)
			continue;
		if (out[i] != NULL) {
			PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'",
			             signature->function, signature->names[i]);
			return -1;
		}
		out[i] = value;
		return 0;
	}
	PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R",
	             signature->function, name);
	return -1;
}

int lz_args(const struct lz_signature *signature, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames, PyObject **out)
{
	Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);

	if (nargs > signature->positional) {
		PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
		             signature->function, signature->positional, nargs);
		return -1;
	}
	for (int i = 0; signature->names[i] != NULL; i++)
		out[i] = i < nargs ? args[i] : NULL;
	for (Py_ssize_t i = 0; i < keywords; i++) {
		if (take_keyword(signature, PyTuple_GET_ITEM(kwnames, i), args[nargs + i], out) < 0)
			return -1;
	}
	for (int i = 0; i < signature->required; i++) {
		if (out[i] == NULL) {
			PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'",
			             signature->function, signature->names[i]);
			return -1;
		}
	}
	return 0;
}

static int refuse_seconds(const char *what)
{
	PyErr_Format(PyExc_ValueError, "%s must be a positive number of seconds (below 9e12)", what);
	return -1;
}

int lz_milliseconds(PyObject *seconds, const char *what, uint64_t *ms)
{
	if (PyFloat_Check(seconds)) {
		double rounded = ceil(PyFloat_AS_DOUBLE(seconds) * 1000.0);
		/* false for NaN too */
		if (!(rounded >= 1.0 && rounded <= (double)MILLISECONDS_MAX))
			return refuse_seconds(what);
		*ms = (uint64_t)rounded;
		return 0;
	}
	if (PyBool_Check(seconds) || !PyIndex_Check(seconds)) {
		PyErr_Format(PyExc_TypeError, "%s must be an int or float of seconds, not %.100s", what,
		             Py_TYPE(seconds)->tp_name);
		return -1;
	}
	PyObject *integer = PyNumber_Index(seconds);
	if (integer == NULL)
		return -1;
	int overflow;
	long long whole = PyLong_AsLongLongAndOverflow(integer, &overflow);
	Py_DECREF(integer);
	if (overflow != 0 || whole <= 0 || (uint64_t)whole > MILLISECONDS_MAX / 1000)
		return refuse_seconds(what);
	*ms = (uint64_t)whole * 1000;
	return 0;
}
