#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz test for a while: fuzz.sh [TIME], e.g. 30s
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
time=${1:-1m}
grep -rlE --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u | while read -r dir; do
	"$go" test -list '^Fuzz' "./$dir" | grep '^Fuzz' | while read -r name; do
		echo "fuzzing $dir $name for $time"
		"$go" test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$dir" </dev/null
	done
done
