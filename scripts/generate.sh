#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes every generated file again: generate.sh [--check]
#
# With --check it fails if that changed anything. The eBPF object depends on the
# compiler down to its patch level, so docs/generated/toolchain.txt says what
# made the committed one; a machine with another compiler compares everything
# but the object, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
made_with=docs/generated/toolchain.txt

toolchain() {
	clang-19 --version | sed -n '1s/.*clang version \([0-9.]*\).*/clang \1/p'
	dpkg-query -W -f 'libbpf headers ${Version}\n' libbpf-dev 2>/dev/null || echo 'libbpf headers unknown'
	echo "bpf2go $("$go" list -m -f '{{.Version}}' github.com/cilium/ebpf)"
}

# sums prints a line for every generated file.
sums() {
	{
		find docs/generated -type f ! -name toolchain.txt
		grep -rlE --include='*.go' '^// Code generated .* DO NOT EDIT\.$' bpf cmd internal
		find bpf -name '*.o'
	} 2>/dev/null | sort -u | xargs sha256sum
}

# everything, in the order in which one follows from the other.
everything() {
	"$go" generate ./...
	# The published model is read from there; building needs none of them.
	"$go" mod download github.com/aws/aws-sdk-go-v2/service/{ec2,elasticloadbalancingv2,sts}
	"$go" run ./internal/gendocs docs/generated
}

if [[ ${1:-} != --check ]]; then
	everything
	mkdir -p docs/generated
	toolchain >"$made_with"
	exit 0
fi

keep=$(mktemp -d)
trap 'rm -rf "$keep"' EXIT
same_tools=1
toolchain | cmp -s - "$made_with" || same_tools=
mapfile -t objects < <(find bpf -name '*.o')
tar cf "$keep/objects.tar" "${objects[@]}"
sums >"$keep/before"
everything
if [[ -z $same_tools ]]; then
	echo "generate: the committed object was made with $(paste -sd, "$made_with"), here is $(toolchain | paste -sd,): objects not compared"
	tar xf "$keep/objects.tar"
fi
sums >"$keep/after"
if ! diff "$keep/before" "$keep/after" >"$keep/diff"; then
	echo "generate: these files are not what their sources make (< committed, > made now): run make generate and commit" >&2
	cat "$keep/diff" >&2
	exit 1
fi
echo "generate: $(wc -l <"$keep/after") files unchanged${same_tools:+, made with $(paste -sd, "$made_with")}"
