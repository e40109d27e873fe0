# SPDX-License-Identifier: MIT
"""Small bad trees, each with the rule that must catch it, and good ones that none may."""

import rules

LONG_BODY = "\tx();\n" * rules.FUNCTION_LINES
SPDX = "/* SPDX-License-Identifier: MIT */\n"
HEADER = "LTZ_API int ltz_get(ltz_pool *pool,\n                    int key);\n"
MAP = "L {\nglobal:\n\tltz_get;\nlocal:\n\t*;\n};\n"

BAD = [
    (rules.check_floors, {"src/sys/a.c": '#include "shm/mem.h"\n'}),
    (rules.check_floors, {"src/sys/a.c": '#include "../shm/mem.h"\n'}),
    (rules.check_floors, {"src/shm/a.c": '#include <store/table.h>\n'}),
    (rules.check_floors, {"src/sys/a.c": '#include "sys.h"\n'}),
    (rules.check_floors, {"python/ext/a.c": '#include "shm/mem.h"\n'}),
    (rules.check_file_length, {"src/sys/a.c": "\n" * (rules.FILE_LINES + 1)}),
    (rules.check_function_length, {"src/sys/a.c": "int f(void)\n{\n" + LONG_BODY + "}\n"}),
    (rules.check_function_length, {"src/sys/a.c": "static int f(int a,\n             int b)\n{\n" + LONG_BODY + "}\n"}),
    (rules.check_function_length, {"python/latzero/a.py": "def f():\n" + "    x()\n" * (rules.FUNCTION_LINES + 1)}),
    (rules.check_banned_calls, {"src/sys/a.c": "\tstrcpy(a, b);\n"}),
    (rules.check_banned_calls, {"tests/unit/a.c": "\tif (system (a))\n"}),
    (rules.check_banned_calls, {"python/ext/a.c": "\tsprintf(a, b);\n"}),
    (rules.check_sleeps, {"tests/unit/a.c": "\tusleep(10);\n"}),
    (rules.check_sleeps, {"tests/python/test_a.py": "    time.sleep(1)\n"}),
    (rules.check_spdx, {"src/sys/a.c": "/* a.c */\n" + SPDX}),
    (rules.check_spdx, {"scripts/a": "#!/bin/bash\nset -eu\n"}),
    (rules.check_spdx, {"python/latzero/a.py": '"""a"""\n'}),
    (rules.check_pairs, {"src/shm/a.c": "/* pairs with: shm/b.c:f */\n"}),
    (rules.check_pairs, {"src/shm/a.c": "/* pairs with: shm/b.c:f */\n", "src/shm/b.c": "/* int f(void) */\n\tf();\n"}),
    (rules.check_pairs, {"src/shm/a.c": "/* pairs with: the reader */\n"}),
    (rules.check_pairs, {"src/shm/a.c": "/* pairs with the reader. */\n"}),
    (rules.check_map, {"include/latzero.h": HEADER, "cmake/latzero.map": "L {\nglobal:\nlocal:\n\t*;\n};\n"}),
    (rules.check_map, {"include/latzero.h": "", "cmake/latzero.map": MAP}),
    (rules.check_public_tested, {"include/latzero.h": HEADER, "tests/unit/a.c": "ltz_get_stats(); /* ltz_get */\n"}),
    (rules.check_public_fails, {"include/latzero.h": HEADER, "tests/oom/results.c": '\t{ "ltz_get", false },\n',
                                "tests/oom/a.c": '\t{ "ltz_get_stats", "", f }, /* ltz_get */\n'}),
    (rules.check_shell, {"scripts/a.sh": "set -e\n"}),
    (rules.check_shell, {".ci/run": "#!/bin/bash\nmake\n"}),
    (rules.check_no_locks, {"src/shm/a.c": "\tpthread_mutex_lock(&m);\n"}),
    (rules.check_no_locks, {"src/store/a.h": "\tpthread_rwlock_t lock;\n"}),
    (rules.check_failures_on_demand, {"src/shm/a.c": "\tp = malloc(8);\n"}),
    (rules.check_failures_on_demand, {"src/sys/a.c": "\tif (LTZ_CALL(open(path, 0)) < 0 || read(fd, p, 1) < 0)\n"}),
    (rules.check_failures_on_demand, {"src/pool/a.c": "\t/* tidy-ok: no reason */\n\treturn -pthread_create(&t, NULL, f, NULL);\n"}),
    (rules.check_machine_paths, {"docs/a.md": "see /ro" + "ot/x\n"}),
    (rules.check_orders, {rules.ORDERS: "", "src/shm/a.c": "int f(void)\n{\n\tload_acquire(&x);\n}\n"}),
    (rules.check_orders, {rules.ORDERS: "`shm/b.c:f`", "src/shm/a.c": "static int f(void) { return owner_load(m, 1); }\n"}),
    (rules.check_orders, {rules.ORDERS: "`store/a.h:g`", "src/store/a.h": "static int f(void)\n{\n\tcopy_to_pool(a);\n}\n"}),
    (rules.check_pages, {"docs/design/a.md": "`shm/a.c:f`", "src/shm/a.c": "static int g(void)\n{\n\tf();\n}\n"}),
    (rules.check_pages, {"docs/design/a.md": "`tests/unit/test_a.c:b`", "tests/unit/test_a.c": "TEST(a_b)\n"}),
    (rules.check_pages, {"docs/design/a.md": "`lanes/E1`", "tests/model/spin/lanes/configs.txt": "E10|x\n"}),
]

GOOD = [
    {"src/shm/a.c": SPDX + '#include <sys/mman.h>\n\n#include "base/error.h"\n#include "shm/a.h"\n\n'
     "/* pairs with: shm/b.c:read_row, b.c:also */\nint f(void)\n{\n\treturn my_system(1); /* gets(x) */\n}\n",
     "src/shm/b.c": SPDX + "static int read_row(void)\n{\n}\n\n#define also(x) x\n",
     "include/latzero.h": SPDX + HEADER, "cmake/latzero.map": "# SPDX-License-Identifier: MIT\n" + MAP,
     "tests/oom/a.c": SPDX + 'static const struct row rows[] = {\n\t{ "ltz_get", "", f },\n};\n',
     "tests/unit/test_a.c": SPDX + "\tltz_get(pool, 1);\n\tusleep(1); /* tidy-ok: nothing to wait for */\n",
     "scripts/a.sh": "#!/bin/bash\n# SPDX-License-Identifier: MIT\nset -eu\n",
     "src/shm/c.c": SPDX + "static const int table[] =\n{\n" + LONG_BODY + "};\n",
     "src/sys/d.c": SPDX + "\tp = LTZ_PTR_CALL(NULL,\n\t                 malloc(8));\n\tmy_open(1), a->read(2), free(p);\n"
                    "\tread(fd, p, 1); /* tidy-ok: cannot fail */\n",
     "src/store/d.c": SPDX + "static int f(void)\n{\n\tload_acquire(&x);\n}\nstatic int g(void) { return f(); }\n",
     rules.ORDERS: "`store/d.c:f` `shm/b.c:read_row` `tests/unit/test_b.c:a_b` `lanes/E1` `lanes/#2` `memory/M1`\n",
     "tests/unit/test_b.c": SPDX + "TEST_WITH_LIMIT(a_b, 9)\n",
     "tests/model/spin/lanes/configs.txt": "E1|x\n-2|y\n", "tests/model/spin/memory/run.sh": 'set -eu\nX "M1 x" $B\n'},
]
