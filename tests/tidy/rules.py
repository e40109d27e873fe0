# SPDX-License-Identifier: MIT
"""The rules of the house that a program can check.

Each rule takes a tree ({path: text}, paths relative to the repository) and
gives one line for each breach. Rules read text, not a parse tree: they know
this repository's way of writing (a function's braces stand in column 0) and
nothing more general.
"""

import ast
import re

FLOORS = ["base", "sys", "guard", "shm", "store", "pool"]
FILE_LINES = 700
FUNCTION_LINES = 70

# Longer on purpose: "path:function" -> why. Keep it empty or tiny.
LONG_FUNCTIONS = {}

# Given as a whole with their recorded results, and left as they are.
MODELS = "tests/model/spin/"

BANNED = {
    "strcpy": "snprintf or memcpy", "strcat": "snprintf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "gets": "fgets", "system": "posix_spawn", "alloca": "a bounded array", "strtok": "strcspn",
}
SLEEPS = re.compile(r"\b(?:sleep|usleep|nanosleep|clock_nanosleep|time\.sleep)\s*\(")
EXCUSE = re.compile(r"tidy-ok: \w+")


def is_c(path):
    return path.endswith((".c", ".h"))


def is_shell(path, text):
    return path.endswith(".sh") or re.match(r"#!.*\b(?:ba|da)?sh\b", text) is not None


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def code_of(text):
    """C without comments and the insides of strings; lines stay where they are."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", blank, text, flags=re.DOTALL)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', lambda m: '"' + " " * (len(m.group(0)) - 2) + '"', text)


def floor_of(path):
    parts = path.split("/")
    return parts[1] if len(parts) == 3 and parts[0] == "src" else None


def check_floors(tree):
    """A file includes only its own floor and those below; the extension only latzero.h."""
    for path, text in tree.items():
        floor = floor_of(path)
        extension = path.startswith("python/ext/")
        if not is_c(path) or not (floor or extension):
            continue
        for line, what in enumerate(text.split("\n"), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', what)
            if not found or found.group(1) == "<" and not found.group(2).startswith(tuple(f + "/" for f in FLOORS)):
                continue
            included = found.group(2)
            target = included.split("/")[0]
            if found.group(1) == "<" and target == "sys":
                continue  # <sys/...> is the libc's
            if extension:
                if "/" in included:
                    yield f"{path}:{line}: the extension includes {included}; it knows latzero.h only"
            elif "/" not in included or target not in FLOORS:
                yield f"{path}:{line}: write {included} as floor/file.h"
            elif FLOORS.index(target) > FLOORS.index(floor):
                yield f"{path}:{line}: {floor} includes {included} of a floor above"


def check_file_length(tree):
    for path, text in tree.items():
        lines = text.count("\n")
        if (is_c(path) or path.endswith(".py")) and not path.startswith(MODELS) and lines > FILE_LINES:
            yield f"{path}: {lines} lines, at most {FILE_LINES}"


def c_functions(text):
    """(name, first line, number of lines) of each function with its braces in column 0."""
    lines = code_of(text).split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            head = "\n".join(lines[max(0, start - 8):start - 1])
            names = re.findall(r"^[A-Za-z_][^;{}#\n]*?\b(\w+)\s*\(", head, flags=re.MULTILINE)
            if names and line.strip() == "}":
                yield names[-1], start, number - start + 1
            start = None


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def check_function_length(tree):
    for path, text in tree.items():
        if path.startswith(MODELS) or not (is_c(path) or path.endswith(".py")):
            continue
        for name, line, length in (c_functions if is_c(path) else python_functions)(text):
            if length > FUNCTION_LINES and f"{path}:{name}" not in LONG_FUNCTIONS:
                yield f"{path}:{line}: {name} has {length} lines, at most {FUNCTION_LINES}"


def check_exceptions_exist(tree):
    """An exception whose reason has gone is taken off the list."""
    for place in LONG_FUNCTIONS:
        path, name = place.rsplit(":", 1)
        functions = c_functions if is_c(path) else python_functions
        if not any(f[0] == name and f[2] > FUNCTION_LINES for f in functions(tree.get(path, ""))):
            yield f"{place} is no long function any more: remove it from LONG_FUNCTIONS"


def check_banned_calls(tree):
    words = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    for path, text in tree.items():
        if not is_c(path) or path.startswith(MODELS):
            continue
        for line, code in enumerate(code_of(text).split("\n"), 1):
            for call in words.findall(code):
                yield f"{path}:{line}: {call}: use {BANNED[call]}"


def check_sleeps(tree):
    """No sleep in a test, unless the line says `tidy-ok: why`."""
    for path, text in tree.items():
        if not path.startswith("tests/") or path.startswith(("tests/tidy/", MODELS)):
            continue
        if not (is_c(path) or path.endswith(".py")):
            continue
        code = code_of(text).split("\n") if is_c(path) else text.split("\n")
        for line, (bare, full) in enumerate(zip(code, text.split("\n")), 1):
            if SLEEPS.search(bare) and not EXCUSE.search(full):
                yield f"{path}:{line}: a sleep; wait for the event itself"


def check_spdx(tree):
    names = ("CMakeLists.txt", "Makefile", "pyproject.toml")
    for path, text in tree.items():
        source = is_c(path) or path.endswith((".py", ".pyi", ".map")) or path.endswith(names)
        if path.startswith(MODELS) or not (source or is_shell(path, text)):
            continue
        lines = text.split("\n")
        first = lines[1] if text.startswith("#!") and len(lines) > 1 else lines[0]
        if "SPDX-License-Identifier: MIT" not in first:
            yield f"{path}: does not begin with its SPDX line"


def defines(text, function):
    """Does the file define the function, or a macro of that name?"""
    code = code_of(text)
    return re.search(rf"^(?:#\s*define\s+|[A-Za-z_][^;\n]*?\b){function}\s*\(", code, flags=re.MULTILINE) is not None


def check_pairs(tree):
    """Every `pairs with: file:function` leads somewhere. file: from src/, or in the same folder."""
    for path, text in tree.items():
        if not is_c(path) or not path.startswith(("src/", "python/ext/")):
            continue
        for found in re.finditer(r"pairs with\b(.*?)(?=\*/|\.(?:\s|$)|$)", text, flags=re.MULTILINE):
            line = text.count("\n", 0, found.start()) + 1
            places = re.findall(r"([\w/]+\.[ch]):(\w+)", found.group(1))
            if not found.group(1).startswith(":") or not places:
                yield f"{path}:{line}: 'pairs with' names no file:function"
            for file, function in places:
                folder = path.rsplit("/", 1)[0]
                target = tree.get("src/" + file, tree.get(folder + "/" + file))
                if target is None:
                    yield f"{path}:{line}: pairs with {file}, which does not exist"
                elif not defines(target, function):
                    yield f"{path}:{line}: pairs with {file}:{function}, which is not there"


def public_functions(tree):
    declarations = re.findall(r"^LTZ_API\s[^;{]*?\b(ltz_\w+)\s*\(", code_of(tree.get("include/latzero.h", "")),
                              flags=re.MULTILINE)
    return sorted(set(declarations))


def mapped_functions(text):
    exported = re.search(r"global:(.*?)local:", text, flags=re.DOTALL)
    return re.findall(r"^\s*(\w+);", exported.group(1), flags=re.MULTILINE) if exported else []


def check_map(tree):
    declared, mapped = public_functions(tree), mapped_functions(tree.get("cmake/latzero.map", ""))
    for name in sorted(set(declared) ^ set(mapped)):
        yield f"{name}: in {'latzero.h' if name in declared else 'latzero.map'} only"


def check_public_tested(tree):
    tests = "\n".join(code_of(text) for path, text in tree.items() if path.startswith("tests/") and path.endswith(".c"))
    for name in public_functions(tree):
        if not re.search(rf"\b{name}\b", tests):
            yield f"{name}: no C test names it"


def check_public_fails(tree):
    """Every public function has a sweep in tests/oom: a table's row begins with its name."""
    rows = "\n".join(text for path, text in tree.items() if path.startswith("tests/oom/") and path != "tests/oom/results.c")
    for name in public_functions(tree):
        if f'{{ "{name}",' not in rows and f'\t"{name}",' not in rows:
            yield f"{name}: no sweep in tests/oom makes its calls fail"


def check_shell(tree):
    for path, text in tree.items():
        if is_shell(path, text) and not path.startswith(MODELS) and not re.search(r"^set -eu", text, re.MULTILINE):
            yield f"{path}: no 'set -eu'"


# What can fail and so must be able to fail on demand. What gives back (close, munmap, free) is not among it.
FAILING = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|aligned_alloc|posix_memalign|strn?dup|asprintf|fopen|fdopendir|opendir|"
                     r"readdir|getline|open|openat|p?read|p?write|readv|writev|fcntl|ioctl|flock|l?stat|fstat|fstatat|f?chmod|fchmodat|"
                     r"mkdir|linkat?|unlink|unlinkat|rename|socket|socketpair|pipe2?|bind|listen|connect|accept4?|[gs]etsockopt|"
                     r"sendmsg|recvmsg|send|recv|p?poll|epoll_\w+|eventfd|memfd_create|ftruncate|fallocate|lseek|madvise|mmap|"
                     r"mremap|mprotect|dup[23]?|getrandom|syscall|[gs]etrlimit|sysinfo|fork|pthread_create|pthread_atfork)\s*\(")
ON_DEMAND = re.compile(r"\bLTZ_(?:SYS_|PTR_|ERR_)?CALL\(")


def spans(code, opening):
    """Where the parentheses that opening ends with are open."""
    for found in opening.finditer(code):
        depth = 0
        for at in range(found.end() - 1, len(code)):
            depth += (code[at] == "(") - (code[at] == ")")
            if depth == 0:
                yield found.end(), at
                break


def check_failures_on_demand(tree):
    """tests/oom makes every call of the core fail: it must go through sys/fault.h, or say `tidy-ok: why` in its line."""
    for path, text in tree.items():
        if not floor_of(path) or path in ("src/sys/fault.c", "src/sys/fault.h"):
            continue
        code, full = code_of(text), text.split("\n")
        inside = list(spans(code, ON_DEMAND))
        for found in FAILING.finditer(code):
            line = code.count("\n", 0, found.start()) + 1
            if not any(a <= found.start() < b for a, b in inside) and not EXCUSE.search(full[line - 1]):
                yield f"{path}:{line}: {found.group(1)} cannot be made to fail: use LTZ_CALL, LTZ_SYS_CALL, LTZ_PTR_CALL or LTZ_ERR_CALL"


def check_no_locks(tree):
    """Nobody waits in the pool: no lock of the libc in shm and store, not even a private one."""
    locks = re.compile(r"\b(pthread_(?:mutex|rwlock|spin|cond|barrier)\w*|sem_(?:init|wait|open)\w*|mtx_\w+)\b")
    for path, text in tree.items():
        if floor_of(path) in ("shm", "store"):
            for line, code in enumerate(code_of(text).split("\n"), 1):
                for name in locks.findall(code):
                    yield f"{path}:{line}: {name}"


# The page that argues each memory order, and what counts as making one.
ORDERS = "docs/design/orders.md"
ACCESS = re.compile(r"\b(?:(?:load|store|cas|exchange|fetch|raise|fence|copy_from|copy_to|zero_in|equal_in)_\w+|"
                    r"count_own|owner_load|owner_cas|__atomic_\w+)\s*\(")
PAGE_NAME = re.compile(r"((?:\w+/)+\w+\.(?:[ch]|py)):(\w+)")


def accessing_functions(text):
    """Names of the functions that access shared words, those written on one line too."""
    lines = code_of(text).split("\n")
    for name, start, length in c_functions(text):
        if ACCESS.search("\n".join(lines[start - 1:start + length - 1])):
            yield name
    for line in lines:
        found = re.match(r"[A-Za-z_][^;{}]*?\b(\w+)\s*\([^{}]*\)\s*(\{.*\})\s*$", line)
        if found and ACCESS.search(found.group(2)):
            yield found.group(1)


def check_orders(tree):
    """The page of memory orders names every function of shm and store that makes one."""
    named = set(PAGE_NAME.findall(tree.get(ORDERS, "")))
    for path, text in tree.items():
        if ORDERS in tree and floor_of(path) in ("shm", "store") and is_c(path):
            for name in accessing_functions(text):
                if (path[len("src/"):], name) not in named:
                    yield f"{ORDERS}: {path}:{name} accesses shared words and is not named"


def has_test(text, name):
    return re.search(rf"^TEST(?:_WITH_LIMIT)?\({name}\b|^ *(?:async )?def {name}\(", text, flags=re.MULTILINE)


def check_pages(tree):
    """What a design page names as file:function, file:test, or model/configuration is there."""
    for path, page in tree.items():
        if not path.startswith("docs/design/"):
            continue
        for file, name in sorted(set(PAGE_NAME.findall(page))):
            text = tree.get(file if file.startswith("tests/") else "src/" + file, "")
            if not (has_test(text, name) if file.startswith("tests/") else defines(text, name)):
                yield f"{path}: {file}:{name} is not there"
        for model, name in sorted(set(re.findall(r"`(index|memory|merged|tables|lanes)/(#?\w+)`", page))):
            listed = "\n".join(text for file, text in tree.items() if file.startswith(f"{MODELS}{model}/"))
            if not re.search(rf'^(?:-?{name.lstrip("#")}\||[PX] "{name.lstrip("#")} )', listed, flags=re.MULTILINE):
                yield f"{path}: the model {model} has no {name}"


def check_machine_paths(tree):
    """What is true of one machine only has no place here."""
    places = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/[\w.]")
    for path, text in tree.items():
        if not path.startswith("tests/tidy/"):
            for line, what in enumerate(text.split("\n"), 1):
                if places.search(what):
                    yield f"{path}:{line}: a path of one machine"


RULES = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
