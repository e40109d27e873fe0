/* SPDX-License-Identifier: MIT */
/*
 * fork.c - os.fork() in a process that has joined a pool.
 *
 * The library stops its thread before any fork() and starts it again in the
 * parent, inside fork(). From 3.12 on CPython counts the process' threads
 * after the at-fork hooks have run and warns when there is more than one; so
 * under os.fork() the start has to wait until that is over:
 *
 *   before             ltz_defer_restart(1)
 *   after, in parent   ltz_defer_restart(0); ask for a pending call
 *   pending call       ltz_restart(), or ask again while os.fork() still runs
 *
 * When has os.fork() returned? It is a C function, so as long as it runs, the
 * frame that called it executes nothing: whatever Python code runs meanwhile
 * (other at-fork hooks) has a frame of its own on top, and the forking frame
 * stays on the same instruction. So it has returned if the forking frame is
 * itself the running one (the interpreter looks for pending calls right after
 * a C call), or if it has moved on.
 *
 * Pending calls run in the main thread only. A fork in another thread is not
 * waited for: two threads are counted then, and warned of, without us.
 *
 * A fork that does not go through Python's hooks (a C library, subprocess
 * where it cannot use vfork) is not deferred.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "core.h"

unsigned lz_forks; /* written in the child while it has one thread; read by pool.c anywhere */

#if PY_VERSION_HEX >= 0x030C0000
#define COUNTS_THREADS 1
#else
#define COUNTS_THREADS 0
#endif

/* The fork that the pending call waits for. Main thread, main interpreter only. */
static struct {
	PyObject *frame; /* NULL: none */
	int instruction;
	bool asked;      /* the pending call is queued */
} fork_waiting;

static int instruction_of(PyObject *frame)
{
#if PY_VERSION_HEX >= 0x030B0000
	return PyFrame_GetLasti((PyFrameObject *)frame);
#else
	(void)frame;
	return -1; /* not needed: nothing counts threads there */
#endif
}

static void forget_fork(void)
{
	Py_CLEAR(fork_waiting.frame);
}

static int restart_when_returned(void *unused);

static void ask(void)
{
	if (!fork_waiting.asked)
		fork_waiting.asked = Py_AddPendingCall(restart_when_returned, NULL) == 0;
	if (!fork_waiting.asked) {
		/* the queue is full: a warning is better than no thread */
		forget_fork();
		ltz_restart();
	}
}

static int restart_when_returned(void *Py_UNUSED(unused))
{
	PyObject *frame = fork_waiting.frame;

	fork_waiting.asked = false;
	if (frame == NULL)
		return 0; /* a child of that fork */
	if ((PyObject *)PyEval_GetFrame() != frame && instruction_of(frame) == fork_waiting.instruction) {
		ask();
		return 0;
	}
	forget_fork();
	ltz_restart();
	return 0;
}

static bool must_wait(void)
{
	return COUNTS_THREADS && syscall(SYS_gettid) == getpid() &&
	       PyInterpreterState_Get() == PyInterpreterState_Main();
}

PyObject *lz_fork_before(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
	ltz_defer_restart(1);
	Py_RETURN_NONE;
}

PyObject *lz_fork_parent(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
	PyFrameObject *frame = PyEval_GetFrame();

	ltz_defer_restart(0);
	if (frame == NULL || !must_wait()) {
		ltz_restart();
		Py_RETURN_NONE;
	}
	Py_XSETREF(fork_waiting.frame, Py_NewRef((PyObject *)frame));
	fork_waiting.instruction = instruction_of((PyObject *)frame);
	ask();
	Py_RETURN_NONE;
}

PyObject *lz_fork_child(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
	__atomic_store_n(&lz_forks, lz_forks + 1, __ATOMIC_RELAXED);
	ltz_defer_restart(0);
	fork_waiting.asked = false; /* if the queue was copied too, its call finds nothing to do */
	forget_fork();
	Py_RETURN_NONE;
}

static int put_hook(PyObject *module, PyObject *keywords, const char *when, const char *function)
{
	PyObject *hook = PyObject_GetAttrString(module, function);
	int result = hook == NULL ? -1 : PyDict_SetItemString(keywords, when, hook);

	Py_XDECREF(hook);
	return result;
}

int lz_fork_init(PyObject *module)
{
	PyObject *os = PyImport_ImportModule("os");
	PyObject *enroll = os == NULL ? NULL : PyObject_GetAttrString(os, "register_at_fork");
	PyObject *nothing = PyTuple_New(0), *keywords = PyDict_New(), *result = NULL;

	if (enroll != NULL && nothing != NULL && keywords != NULL &&
	    put_hook(module, keywords, "before", "_fork_before") == 0 &&
	    put_hook(module, keywords, "after_in_parent", "_fork_parent") == 0 &&
	    put_hook(module, keywords, "after_in_child", "_fork_child") == 0)
		result = PyObject_Call(enroll, nothing, keywords);
	Py_XDECREF(os);
	Py_XDECREF(enroll);
	Py_XDECREF(nothing);
	Py_XDECREF(keywords);
	Py_XDECREF(result);
	return result == NULL ? -1 : 0;
}
