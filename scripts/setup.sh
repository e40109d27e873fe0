#!/bin/bash
# SPDX-License-Identifier: MIT
#
# setup.sh [VENV] - what building and testing need: Debian packages (installed
# if root or sudo can; named otherwise) and a virtual environment.
set -eu

cd "$(dirname "$0")/.."
venv=${1:-.venv}
python=${PYTHON:-python3}
packages="gcc make cmake ninja-build pkg-config libxxhash-dev libssl-dev libargon2-dev python3-dev python3-venv"

missing=""
if command -v dpkg-query >/dev/null; then
	for package in $packages; do
		case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true) in
		"install ok installed") ;;
		*) dpkg-query -W -f='${Provides} ${Status}\n' 2>/dev/null |
			grep -E "(^|[ ,])$package([ ,(]|$).* installed$" >/dev/null || missing="$missing $package" ;;
		esac
	done
	if [ -n "$missing" ]; then
		as_root=""
		if [ "$(id -u)" != 0 ]; then
			as_root="sudo -n"
		fi
		if [ -n "$as_root" ] && ! sudo -n true 2>/dev/null; then
			echo "setup: install these packages, then try again:$missing" >&2
			exit 1
		fi
		export DEBIAN_FRONTEND=noninteractive
		$as_root apt-get update -q
		# shellcheck disable=SC2086
		$as_root apt-get install -q -y --no-install-recommends $missing
	fi
else
	for program in gcc make cmake ninja pkg-config; do
		command -v "$program" >/dev/null || missing="$missing $program"
	done
	if [ -n "$missing" ]; then
		echo "setup: install these (Debian names: $packages):$missing" >&2
		exit 1
	fi
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
	echo "setup: $python is older than 3.10: set PYTHON to a newer one" >&2
	exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -r requirements-dev.txt
touch "$venv/.stamp"
