#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what this machine lacks: deps.sh [base] [compat] [dev] [bench]
#
#   base   to run Postern, its demo and its tests
#   compat the clients that test/compat runs and the server that test/dns
#          compares with: without them their tests skip
#   dev    to regenerate the eBPF objects and to test with the race detector
#   bench  to run the benchmark
#
# When nothing is missing it prints nothing and calls no package manager. It
# installs from the distribution's own packages on Debian and Ubuntu, as root;
# elsewhere it says what to install and fails.
set -euo pipefail

go_minimum=1.26

have() { command -v "$1" >/dev/null 2>&1; }

# usable_aws: some aws on the PATH, or the distribution's, starts.
usable_aws() {
	local a
	for a in ${POSTERN_AWS:-} "$(command -v aws || true)" /usr/bin/aws /opt/postern-awscli/bin/aws; do
		[[ -x $a ]] && "$a" --version >/dev/null 2>&1 && return 0
	done
	return 1
}

packages=()
clients=() # packages without which tests skip
need() { packages+=("$@"); }

aws_missing=
for group in "${@:-base}"; do
	case $group in
	base)
		if ! have go; then
			echo "deps: Go $go_minimum or newer is needed: install it first" >&2
			exit 1
		fi
		have ip || need iproute2
		have curl || need curl
		have git || need git
		have mount || need mount
		have ps || need procps
		[[ -x /usr/sbin/nsd ]] || need nsd # the name server of tests that look for TXT records
		[[ -e /etc/ssl/certs/ca-certificates.crt ]] || need ca-certificates
		usable_aws || aws_missing=1
		;;
	compat)
		# test/compat has the SDK for JavaScript, an SNS-compatible server and an
		# emulator of DynamoDB from npm.
		have node || need nodejs
		have npm || need npm
		/usr/bin/python3 -c 'import boto3' 2>/dev/null || clients+=(python3-boto3)
		[[ $(/usr/bin/aws --version 2>/dev/null) == aws-cli/2* ]] || clients+=(awscli)
		[[ -e /usr/bin/ansible-playbook ]] || clients+=(ansible)
		[[ -e /usr/sbin/unbound ]] || clients+=(unbound)
		[[ -e /usr/bin/s3cmd ]] || clients+=(s3cmd)
		;;
	dev)
		have clang-19 || need clang-19
		have llvm-strip-19 || need llvm-19
		[[ -e /usr/include/bpf/bpf_helpers.h ]] || need libbpf-dev
		compgen -G '/usr/include/linux/bpf.h' >/dev/null || need linux-libc-dev
		have gcc || need gcc libc6-dev # the race detector links with it
		;;
	bench)
		have haproxy || need haproxy
		have nginx || need nginx
		[[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || need libnginx-mod-stream
		have nft || need nftables
		have dnsperf || need dnsperf
		[[ -e /usr/sbin/unbound ]] || need unbound
		;;
	*)
		echo "deps: unknown group $group: want base, compat, dev or bench" >&2
		exit 1
		;;
	esac
done

[[ ${#packages[@]} -gt 0 || ${#clients[@]} -gt 0 || -n $aws_missing ]] || exit 0

if ! have apt-get || [[ $EUID -ne 0 ]]; then
	if [[ ${#clients[@]} -gt 0 ]]; then
		echo "deps: programs that are not here, whose tests will skip (Debian's package names): ${clients[*]}" >&2
		[[ ${#packages[@]} -gt 0 || -n $aws_missing ]] || exit 0
	fi
	{
		echo "deps: missing here: ${packages[*]-}${aws_missing:+ awscli}"
		echo "deps: these are Debian's package names; install them (on Debian or Ubuntu: sudo scripts/deps.sh $*) and try again"
	} >&2
	exit 1
fi

echo "installing: ${packages[*]-} ${clients[*]-}${aws_missing:+ awscli}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
	"$@" >"$log" 2>&1 || {
		cat "$log" >&2
		echo "deps: failed: $*" >&2
		exit 1
	}
}
quietly apt-get update -qq
if [[ -n $aws_missing ]]; then
	if apt-cache show awscli >/dev/null 2>&1; then
		need awscli
	else # Ubuntu 24.04 has no such package
		need python3-venv
	fi
fi
# A client that the distribution does not have is no reason to stop: Ubuntu
# 24.04 has no aws command line.
for p in "${clients[@]}"; do
	if apt-cache show "$p" >/dev/null 2>&1; then
		need "$p"
	else
		echo "deps: no package $p here: its tests will skip" >&2
	fi
done
# What tests and measurements start themselves is not to run otherwise: Debian
# would start a proxy on port 80, a name server on port 53.
policy=/usr/sbin/policy-rc.d
if [[ " ${packages[*]-} " =~ \ (nginx|haproxy|unbound|nsd)\  && ! -e $policy ]]; then
	trap 'rm -f "$log" "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi
quietly apt-get install -y -qq --no-install-recommends "${packages[@]}"
if [[ -n $aws_missing ]] && ! usable_aws; then
	quietly python3 -m venv /opt/postern-awscli
	quietly /opt/postern-awscli/bin/pip install --quiet awscli
fi
if [[ -n $aws_missing ]] && ! usable_aws; then
	echo "deps: no working aws command line after the installation: set POSTERN_AWS to one" >&2
	exit 1
fi
