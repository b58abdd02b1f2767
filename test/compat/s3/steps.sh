# SPDX-License-Identifier: Apache-2.0
# What the scripts of clients share: each step is a function that fails or not.

# step NAME COMMAND...: runs it on its own and says what it came to.
step() {
	local name=$1 out
	shift
	if out=$(set -euo pipefail; "$@" 2>&1); then
		echo "PASS $name"
	else
		echo "FAIL $name $(tail -c 600 <<<"$out" | tr '\n' ' ')"
	fi
}

# fails COMMAND...: succeeds if the command does not.
fails() { ! "$@"; }

# says TEXT COMMAND...: the command must succeed and print the text.
says() {
	local text=$1 out
	shift
	out=$("$@") && [[ $out == *"$text"* ]] || { echo "no $text in: $out"; return 1; }
}

# file BYTES NAME: makes a file in which no two places are alike.
file() { seq 100000000 | head -c "$1" >"$2"; }
