#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run_models.sh BUILD - checks the SPIN models of both protocols, the quick
# variants: each configuration must give the verdict that is expected of it
# (the index: no error; the memory: none, or one where a rule was taken out).
# Works on a copy in BUILD, closes with `N passed, N failed`.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
if ! command -v spin >/dev/null; then
	as_root=""
	[ "$(id -u)" = 0 ] || as_root="sudo -n"
	if ! $as_root apt-get install -q -y --no-install-recommends spin; then
		echo "model: install the package spin, then try again" >&2
		exit 1
	fi
fi

mkdir -p "$1"
build=$(cd "$1" && pwd)
rm -rf "$build/spin" "$build/tmp"
mkdir -p "$build/tmp"
cp -r "$root/tests/model/spin" "$build/spin"
export TMPDIR="$build/tmp" W="$build/tmp/index"
passed=0 failed=0

verdict() { # good bad text
	if [ "$1" = yes ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "SURPRISE: $2"
	fi
}

echo "== index: every configuration without an error, as in results.txt"
(cd "$build/spin/index" && bash ./run.sh pos) | tee "$build/index.out"
while IFS='|' read -r name text _; do
	case $name in '#'* | '') continue ;; esac
	good=no
	if grep -qE "^$name +safe .* ok " "$build/index.out"; then good=yes; fi
	verdict $good "index $name ($text)"
	grep -qE "^$name +safe .* ok " "$build/spin/index/results.txt" ||
		verdict no "index $name is not in results.txt as ok: run it and write it down"
done <"$build/spin/index/configs.txt"

echo "== memory: the protocol holds, and each rule taken out is missed"
status=0
(cd "$build/spin/memory" && bash ./run.sh) | tee "$build/memory.out" || status=$?
while IFS='|' read -r result text _; do
	good=no
	if [ "${result// /}" = ok ]; then good=yes; fi
	verdict $good "memory $text"
done < <(grep -E '^(ok|UNEXPECTED) +\|' "$build/memory.out" || true)
grep -q '^== 0 unexpected' "$build/memory.out" || verdict no "memory: the run did not end well"

rm -rf "$build/tmp"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$status" = 0 ] && [ "$passed" -gt 0 ]
