#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run_set.sh FOLDER [pos|big|np|mut]...  (needs spin, gcc) - one of the models merged,
# tables, lanes: every configuration must have no error, every mutant (a rule taken
# out: MUT=n in the environment) must be caught in the configuration named for it; np: the state graph
# has no cycle, so everybody ends (configurations up to a million states). One search at a time. A counterexample: cd $W/<configuration>; MUT=n ./pan -m100000; MUT=n TRAIL=1 ./pan -r
set -u
home=$(cd "$(dirname "$0")" && pwd)
model=$1
shift
[ $# -gt 0 ] || set -- pos mut
W=${W:-${TMPDIR:-/tmp}/$model-spin}
MEM=${MEM:-5500}
unexpected=0
mkdir -p "$W"

search() { # name flags [check]: fills st dp er tm. Built once for a name, whatever the mutant (environment MUT).
	mkdir -p "$W/$1"
	cd "$W/$1" || exit 1
	rm -f ./*.trail
	[ -f "built$$" ] || {
		cp "$home/sched.pml" "$home/$model/$model.h" . && spin -a sched.pml >spin.out 2>&1 &&
			eval gcc -O2 -w ${3:--DSAFETY} -DNOREDUCE -DCOLLAPSE -DMEMLIM="$MEM" "-DMODEL='\"$model.h\"'" $2 -o pan pan.c || {
			echo "BUILD FAILED: $1"
			exit 1
		}
		rm -f built*
		touch "built$$"
	}
	nice -n 15 timeout 600 ./pan -m100000 ${PAN:-} >out 2>&1
	st=$(grep -oE '[0-9.e+]+ states, stored' out | cut -d' ' -f1)
	dp=$(grep -oE 'depth reached [0-9]+' out | cut -d' ' -f3)
	er=$(grep -oE 'errors: [0-9]+' out | cut -d' ' -f2)
	tm=$(grep -oE 'elapsed time [0-9.e+]+' out | cut -d' ' -f3)
	if [ -z "$er" ] || { [ "$er" = 0 ] && grep -qE 'out of memory|max search depth too small|Search not completed' out; }; then
		er=INCOMPLETE
	fi
}
flags_of() { grep -hE "^$1\|" "$home/$model/configs.txt" "$home/$model/configs_big.txt" 2>/dev/null | head -1 | cut -d'|' -f3; }
why() { TRAIL=1 ./pan -r 2>/dev/null | grep -oE 'VIOLATION [0-9]+' | head -1; }

for what in "$@"; do
	case $what in
	pos | big)
		file=configs.txt
		[ "$what" = big ] && file=configs_big.txt
		echo "== $model $what: name, states, depth, seconds, result, configuration"
		while IFS='|' read -r name text flags; do
			case $name in '#'* | '') continue ;; esac
			search "$name" "$flags"
			result=ok
			[ "$er" = 0 ] || { result="ERROR($er) $(why)"; unexpected=$((unexpected + 1)); }
			printf '%-5s %11s %6s %8s  %-10s %s\n' "$name" "$st" "$dp" "$tm" "$result" "$text"
		done <"$home/$model/$file"
		;;
	np)
		echo "== $model np: no cycle in the state graph: name, states, depth, seconds, result"
		while IFS='|' read -r name text flags; do
			case $name in '#'* | '') continue ;; esac
			grep -qE "^$name +[0-9]{7,} " "$home/$model/results.txt" && continue
			PAN=-l search "$name-np" "$flags" -DNP
			result=ok
			[ "$er" = 0 ] || { result="ERROR($er)"; unexpected=$((unexpected + 1)); }
			printf '%-5s %11s %6s %8s  %-10s %s\n' "$name" "$st" "$dp" "$tm" "$result" "$text"
		done <"$home/$model/configs.txt"
		;;
	mut)
		echo "== $model mut: number, configuration, result, states, length of the run found, what, rule removed"
		while IFS='|' read -r number config text; do
			case $number in '#'* | '') continue ;; esac
			want=caught
			case $number in -*) want=missed number=${number#-} ;; esac # known to be unnecessary
			export MUT=$number
			search "$config" "$(flags_of "$config")"
			result=missed
			case $er in 0) ;; INCOMPLETE) result=INCOMPLETE ;; *) result=caught ;; esac
			[ $result = $want ] || { unexpected=$((unexpected + 1)); result="UNEXPECTED($result)"; }
			printf '%-4s %-5s %-8s %10s %5s  %-13s %s\n' "$number" "$config" "$result" "$st" "$dp" "$(why)" "$text"
		done <"$home/$model/mutants.txt"
		unset MUT
		;;
	esac
done
echo "== $unexpected unexpected"
exit $((unexpected > 0))
