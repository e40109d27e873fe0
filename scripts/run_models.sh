#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run_models.sh BUILD [full] - checks the SPIN models of both protocols, the quick
# variants: each configuration must give the verdict that is expected of it (no
# error, or one where a rule was taken out). full adds the large configurations
# of merged, tables and lanes and their search for cycles (half an hour more).
# MODELS="merged lanes" in the environment: only these.
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
passed=0 failed=0 status=0

verdict() { # good bad text
	if [ "$1" = yes ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "SURPRISE: $2"
	fi
}

what="pos mut"
[ "${2:-}" != full ] || what="pos mut big np"
models=${MODELS:-index memory merged tables lanes}
wanted() { case " $models " in *" $1 "*) true ;; *) false ;; esac; }

if wanted index; then
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
fi

if wanted memory; then
	echo "== memory: the protocol holds, and each rule taken out is missed"
	(cd "$build/spin/memory" && bash ./run.sh) | tee "$build/memory.out" || status=$?
	while IFS='|' read -r result text _; do
		good=no
		if [ "${result// /}" = ok ]; then good=yes; fi
		verdict $good "memory $text"
	done < <(grep -E '^(ok|UNEXPECTED) +\|' "$build/memory.out" || true)
	grep -q '^== 0 unexpected' "$build/memory.out" || verdict no "memory: the run did not end well"
fi

# Each line of a result is `name ... ok`, `... caught` or `... missed` (known to be); anything else is a surprise.
for model in merged tables lanes; do
	wanted $model || continue
	export W="$build/tmp/$model"
	(cd "$build/spin" && bash ./run_set.sh $model $what) | tee "$build/$model.out" || status=$?
	while read -r line; do
		good=yes
		case $line in *UNEXPECTED* | *ERROR* | *INCOMPLETE* | *FAILED*) good=no ;; esac
		verdict $good "$model: $line"
	done < <(grep -vE '^==' "$build/$model.out" || true)
	grep -q '^== 0 unexpected' "$build/$model.out" || verdict no "$model: the run did not end well"
done

rm -rf "$build/tmp"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$status" = 0 ] && [ "$passed" -gt 0 ]
