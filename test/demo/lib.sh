# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What demo.sh is written in: numbered steps, timed checks, commands side by
# side. Sourced, never run; the caller sets tmp, a directory for scratch files.
# shellcheck disable=SC2154

millis() { echo "${EPOCHREALTIME//[.,]/}" | cut -c1-13; }

demo_started=$(millis)
check_started=$demo_started
step_number=0

# step TITLE begins the next numbered step.
step() {
	step_number=$((step_number + 1))
	printf '\n%d. %s\n' "$step_number" "$1"
	check_started=$(millis)
}

# pass WHAT prints a check that held, and the time since the one before.
pass() {
	local now
	now=$(millis)
	printf '   ✓ %-88s %6d ms\n' "$1" $((now - check_started))
	check_started=$now
}

# fail WHAT EXPECTED GOT ends the demo. on_failure, if defined, prints more.
fail() {
	printf '   ✗ %s\n     expected: %s\n     got:      %s\n' "$1" "$2" "${3:-nothing}"
	if declare -F on_failure >/dev/null; then on_failure; fi
	exit 1
}

# expect WHAT WANT GOT passes if the two are equal.
expect() {
	[[ $2 == "$3" ]] || fail "$1" "$2" "$3"
	pass "$1"
}

# expect_match WHAT REGEX GOT passes if GOT, anywhere in it, looks like REGEX.
expect_match() {
	grep -qiE -- "$2" <<<"$3" || fail "$1" "something like $2" "$3"
	pass "$1"
}

# expect_success WHAT COMMAND... passes if the command succeeds; its output is
# in $got.
expect_success() {
	local what=$1
	shift
	got=$("$@" 2>&1) || fail "$what" "success of: $*" "exit code $?: $got"
	pass "$what"
}

# expect_failure WHAT COMMAND... passes if the command fails; its output is in
# $got.
expect_failure() {
	local what=$1
	shift
	if got=$("$@" 2>&1); then fail "$what" "failure of: $*" "success: $got"; fi
	pass "$what"
}

# until_true SECONDS WHAT COMMAND... repeats a command until it succeeds, and
# fails when the seconds are over. The command's own time is the pause; those
# that take none are held to one try in 50 ms.
until_true() {
	local end=$(($(millis) + $1 * 1000)) what=$2 out=
	shift 2
	until out=$("$@" 2>&1); do
		(($(millis) < end)) || fail "$what" "within the time: $*" "$out"
		sleep 0.05
	done
	pass "$what"
}

# side NAME COMMAND... starts a command beside the others; joined waits for all
# of them and puts what each printed into the variable NAME. A name of - drops
# the output.
side_names=() side_pids=() side_commands=()
side() {
	local name=$1
	shift
	"$@" >"$tmp/side.${#side_pids[@]}.out" 2>"$tmp/side.${#side_pids[@]}.err" &
	side_pids+=($!) side_names+=("$name") side_commands+=("$*")
}
joined() {
	local i code
	for i in "${!side_pids[@]}"; do
		code=0
		wait "${side_pids[i]}" || code=$?
		[[ $code -eq 0 ]] || fail "a call" "success of: ${side_commands[i]}" "exit code $code: $(cat "$tmp/side.$i.err")"
		[[ ${side_names[i]} == - ]] || printf -v "${side_names[i]}" '%s' "$(cat "$tmp/side.$i.out")"
	done
	side_names=() side_pids=() side_commands=()
}

# inventory lists what Postern could leave in a kernel: devices, named
# namespaces, mounts, pins. The directory of named namespaces itself is mounted
# by whoever first makes one, as ip does too, and stays for the others.
inventory() {
	{
		ip -o link | awk -F': ' '{ sub(/@.*/, "", $2); print "device " $2 }'
		ip netns list | awk '{ print "namespace " $1 }'
		awk '$5 != "/run/netns" { print "mount " $5 }' /proc/self/mountinfo
		find /sys/fs/bpf -mindepth 1 2>/dev/null | sed 's/^/pin /'
	} | sort -u
}

# nothing_new FILE TAG succeeds if the inventory has nothing that FILE lacks.
# What bears the tag of another installation, which may run beside this one, is
# that one's business.
nothing_new() {
	local new
	new=$(comm -13 "$1" <(inventory) | awk -v tag="$2" '
		/^device p[0-9a-f][0-9a-f][0-9a-f][0-9a-f]/ && index($2, "p" tag) != 1 { next }
		/^namespace postern-/ && index($2, "postern-" tag) != 1 { next }
		/^mount \/run\/(netns\/postern-|postern\/)/ && !index($2, tag) { next }
		{ print }')
	[[ -z $new ]] || { echo "$new" && return 1; }
}

# descendants PID lists a process and all below it.
descendants() {
	ps -eo pid=,ppid= | awk -v top="$1" '
		{ parent[$1] = $2 }
		END { for (p in parent) for (q = p; q in parent; q = parent[q]) if (q == top) { print p; break } }'
}

# all_ended PID... succeeds if none of the processes lives.
all_ended() {
	local p
	for p in "$@"; do
		if kill -0 "$p" 2>/dev/null; then
			ps -o pid=,args= -p "$p"
			return 1
		fi
	done
}

# free_port prints a TCP port of 127.0.0.1 on which nothing listens.
free_port() {
	local port
	for _ in {1..50}; do
		port=$((20000 + RANDOM % 10000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
	return 1
}
