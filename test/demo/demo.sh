#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job, with the AWS command line: a consumer and a provider with the
# same addresses, an endpoint service between them, an S3 gateway endpoint, and
# a check that every packet passes exactly when it should. Run it as root with
# `make demo`. It uses a data directory and a port of its own, changes nothing
# else, and takes everything away again, also after a failure or Ctrl-C.
#
# POSTERN_AWS names the aws command line to use; otherwise the first that works.
#
# shellcheck disable=SC2154 # variables are set by side and joined
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/demo/lib.sh
. "$root/test/demo/lib.sh"

region=us-east-1
domain=orders.example.com
image=ami-00000000000000000 # kept, never run: an instance is a network namespace
consumer_addr=10.0.0.10
provider_addr_a=10.0.0.20
provider_addr_b=10.0.1.20

# ---------------------------------------------------------------- the ground

if [[ $EUID -ne 0 ]]; then
	echo "the demo makes network namespaces and loads eBPF programs: run it as root" >&2
	exit 1
fi
for f in postern postern-s3 demo-httpd; do
	[[ -x $root/bin/$f ]] || { echo "bin/$f is missing: run make demo" >&2; exit 1; }
done

tmp=$(mktemp -d /tmp/postern-demo.XXXXXX)
chmod 711 "$tmp" # the server's own user has to reach its directory in it
data=$tmp/data
server=
started=()

cleanup() {
	local code=$? p
	trap - EXIT INT TERM
	for p in "${started[@]}" $server; do kill "$p" 2>/dev/null || true; done
	if [[ -n $server ]]; then
		timeout 15 tail --pid="$server" -f /dev/null || kill -9 "$server" 2>/dev/null || true
	fi
	wait 2>/dev/null || true
	[[ ! -d $data ]] || postern reset --yes >"$tmp/reset.log" 2>&1 || cat "$tmp/reset.log" >&2
	if [[ $code -ne 0 && $code -ne 130 && -s $tmp/serve.log ]]; then
		printf '\nthe last lines of the server:\n'
		tail -n 25 "$tmp/serve.log" | cut -c1-300
	fi
	rm -rf "$tmp"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

on_failure() {
	printf '\n     packets dropped, by reason:\n'
	postern drops 2>&1 | sed 's/^/     /' || true
}

# postern runs the command line with nothing of the caller's environment. What
# is started in the background uses the array, so that $! is its process.
clean_env=(env -i PATH="$PATH" HOME="$tmp" LC_ALL=C.UTF-8 POSTERN_DATA_DIR="$data")
cli=("${clean_env[@]}" "$root/bin/postern")
postern() { "${cli[@]}" "$@"; }

# aws_env ACCOUNT COMMAND... runs a command with an account's keys and no other
# setting that an AWS client looks at.
declare -A access_key secret_key
aws_env() {
	local who=$1
	shift
	"${clean_env[@]}" AWS_ACCESS_KEY_ID="${access_key[$who]}" AWS_SECRET_ACCESS_KEY="${secret_key[$who]}" \
		AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_DEFAULT_OUTPUT=text AWS_PAGER= \
		AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null \
		AWS_EC2_METADATA_DISABLED=true AWS_MAX_ATTEMPTS=1 "$@"
}

# consumer, provider and stranger call the API as these accounts.
consumer() { aws_env consumer "$aws" --endpoint-url "$endpoint" "$@"; }
provider() { aws_env provider "$aws" --endpoint-url "$endpoint" "$@"; }
stranger() { aws_env stranger "$aws" --endpoint-url "$endpoint" "$@"; }

# within INSTANCE COMMAND... runs a command in an instance's network.
within() {
	local instance=$1
	shift
	postern exec "$instance" -- "$@"
}

# fetch URL asks from the consumer's instance. Where a check expects that no
# packet passes, a second is long enough: it also names the reason of the drop.
patience=5
fetch() { within "$c_instance" curl -fsS --connect-timeout "$patience" --max-time 10 "$@"; }

# s3 ARGUMENTS runs `aws s3` in the consumer's instance, as the consumer, to
# S3's usual names.
s3() {
	aws_env consumer "$root/bin/postern" exec "$c_instance" -- \
		"$aws" --cli-connect-timeout "$patience" --cli-read-timeout 20 s3 "$@"
}
blocked() { patience=1 "$@"; }

# dropped_for REASON says that a packet of the consumer's instance was just
# dropped for it.
dropped_for() {
	expect_match "  and the drop has a reason: $1" "\\b$1\\b" "$(postern drops --since 15s --interface "$c_instance" 2>&1)"
}

find_aws() {
	local a
	access_key[none]=none secret_key[none]=none
	# A version manager's stand-in costs a shell for each of the many calls:
	# what it stands for comes first.
	for a in ${POSTERN_AWS:-} "$(pyenv which aws 2>/dev/null || true)" "$(command -v aws || true)" /usr/bin/aws /opt/postern-awscli/bin/aws; do
		if [[ -x $a ]] && aws_env none "$a" --version >"$tmp/aws-version" 2>&1; then
			echo "$a"
			return
		fi
	done
	echo "no working aws command line: install awscli, or set POSTERN_AWS" >&2
	return 1
}

aws=$(find_aws)
inventory >"$tmp/before"

# ------------------------------------------------------------------- the job

echo "Postern's main job, with $(cut -d' ' -f1 "$tmp/aws-version")"

step "Two accounts, two VPCs with the same addresses, workloads in two zones"

mkfifo "$tmp/ready"
"${cli[@]}" serve --data-dir "$data" --listen "127.0.0.1:$(free_port)" --region $region --dns-upstream none \
	>"$tmp/ready" 2>"$tmp/serve.log" &
server=$!
exec 3<>"$tmp/ready"
read -r -t 30 ready <&3 || fail "postern serve" "a line that begins with ready:" "$(tail -n 5 "$tmp/serve.log")"
endpoint=$(grep -oE 'http://[0-9.]+:[0-9]+' <<<"$ready") || fail "postern serve" "ready: http://ADDRESS" "$ready"
pass "postern serve answers at $endpoint"

for who in consumer provider stranger; do
	access_key[$who]=AKIA$(tr -dc A-Z2-7 </dev/urandom | head -c 16 || true)
	secret_key[$who]=$(tr -dc A-Za-z0-9 </dev/urandom | head -c 40 || true)
	postern account create $who --access-key "${access_key[$who]}" --secret-key "${secret_key[$who]}" >"$tmp/account.$who"
done
side c_account consumer sts get-caller-identity --query Account
side p_account provider sts get-caller-identity --query Account
side c_vpc consumer ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId
side p_vpc provider ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId
side s_vpc stranger ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId
joined
pass "consumer $c_account has $c_vpc, provider $p_account has $p_vpc, both 10.0.0.0/16"

side - consumer ec2 modify-vpc-attribute --vpc-id "$c_vpc" --enable-dns-hostnames
side c_subnet_a consumer ec2 create-subnet --vpc-id "$c_vpc" --cidr-block 10.0.0.0/24 --availability-zone ${region}a --query Subnet.SubnetId
side c_subnet_b consumer ec2 create-subnet --vpc-id "$c_vpc" --cidr-block 10.0.1.0/24 --availability-zone ${region}b --query Subnet.SubnetId
side p_subnet_a provider ec2 create-subnet --vpc-id "$p_vpc" --cidr-block 10.0.0.0/24 --availability-zone ${region}a --query Subnet.SubnetId
side p_subnet_b provider ec2 create-subnet --vpc-id "$p_vpc" --cidr-block 10.0.1.0/24 --availability-zone ${region}b --query Subnet.SubnetId
side c_group consumer ec2 create-security-group --vpc-id "$c_vpc" --group-name endpoint --description "the endpoint" --query GroupId
side p_group provider ec2 create-security-group --vpc-id "$p_vpc" --group-name web --description "the web servers" --query GroupId
side c_table consumer ec2 describe-route-tables --filters "Name=vpc-id,Values=$c_vpc" --query 'RouteTables[0].RouteTableId'
joined
run_instance() { # ACCOUNT SUBNET ADDRESS [GROUP]
	"$1" ec2 run-instances --image-id $image --instance-type t3.micro --count 1 --subnet-id "$2" --private-ip-address "$3" \
		${4:+--security-group-ids "$4"} --query 'Instances[0].InstanceId'
}
endpoint_open() { consumer ec2 authorize-security-group-ingress --group-id "$c_group" --protocol tcp --port 80 --cidr 10.0.0.0/16; }
endpoint_close() { consumer ec2 revoke-security-group-ingress --group-id "$c_group" --protocol tcp --port 80 --cidr 10.0.0.0/16; }
side - endpoint_open
side - provider ec2 authorize-security-group-ingress --group-id "$p_group" --protocol tcp --port 8080 --cidr 10.0.0.0/16
side c_instance run_instance consumer "$c_subnet_a" $consumer_addr
side p_instance_a run_instance provider "$p_subnet_a" $provider_addr_a "$p_group"
side p_instance_b run_instance provider "$p_subnet_b" $provider_addr_b "$p_group"
joined
running() { within "$1" true; }
for i in "$c_instance" "$p_instance_a" "$p_instance_b"; do
	until_true 20 "workload $i runs" running "$i"
done

step "The consumer cannot reach the provider"

serve_http() { # INSTANCE NAME
	"${cli[@]}" exec "$1" -- "$root/bin/demo-httpd" -listen :8080 -name "$2" >"$tmp/httpd.$2" 2>&1 &
	started+=($!)
}
serve_http "$p_instance_a" a
serve_http "$p_instance_b" b
until_true 10 "the provider's web servers listen" grep -q ready "$tmp/httpd.a" "$tmp/httpd.b"
expect_success "inside the provider's VPC, zone a reaches zone b" \
	within "$p_instance_a" curl -fsS --max-time 5 "http://$provider_addr_b:8080/"
expect "  it is the provider's server that answers" "hello from b" "$got"
expect_failure "the consumer's connection to the same address fails" blocked fetch "http://$provider_addr_b:8080/"
dropped_for no-interface

step "The provider puts a network load balancer and an endpoint service in front"

side lb provider elbv2 create-load-balancer --name orders --type network --scheme internal \
	--subnets "$p_subnet_a" "$p_subnet_b" --query 'LoadBalancers[0].LoadBalancerArn'
side group provider elbv2 create-target-group --name orders --protocol TCP --port 8080 --vpc-id "$p_vpc" --target-type instance \
	--health-check-interval-seconds 5 --healthy-threshold-count 2 --query 'TargetGroups[0].TargetGroupArn'
side - postern domain verify $domain --account provider
joined
side - provider elbv2 register-targets --target-group-arn "$group" --targets "Id=$p_instance_a" "Id=$p_instance_b"
side - provider elbv2 create-listener --load-balancer-arn "$lb" --protocol TCP --port 80 \
	--default-actions "Type=forward,TargetGroupArn=$group"
joined
healthy() {
	local states
	states=$(provider elbv2 describe-target-health --target-group-arn "$group" \
		--query 'TargetHealthDescriptions[].[TargetHealth.State,TargetHealth.Reason]')
	[[ $(grep -c '^healthy' <<<"$states") -eq 2 ]] || { echo "$states" && return 1; }
}
until_true 40 "both targets are healthy" healthy

read -r service_id service_name <<<"$(provider ec2 create-vpc-endpoint-service-configuration --network-load-balancer-arns "$lb" \
	--acceptance-required --private-dns-name $domain --query 'ServiceConfiguration.[ServiceId,ServiceName]')"
expect_match "endpoint service $service_name" '^com\.amazonaws\.vpce\.' "$service_name"
side - provider ec2 modify-vpc-endpoint-service-permissions --service-id "$service_id" \
	--add-allowed-principals "arn:aws:iam::$c_account:root"
joined
expect_failure "a stranger's endpoint is refused" \
	stranger ec2 create-vpc-endpoint --vpc-endpoint-type Interface --vpc-id "$s_vpc" --service-name "$service_name"
expect_match "  as if the service did not exist" InvalidServiceName "$got"

step "The consumer's endpoint carries traffic once the provider accepts it"

read -r ep state <<<"$(consumer ec2 create-vpc-endpoint --vpc-endpoint-type Interface --vpc-id "$c_vpc" --service-name "$service_name" \
	--subnet-ids "$c_subnet_a" "$c_subnet_b" --security-group-ids "$c_group" --private-dns-enabled \
	--query 'VpcEndpoint.[VpcEndpointId,State]')"
expect "$ep waits for acceptance" pendingAcceptance "$state"
ep_addr=$(consumer ec2 describe-network-interfaces --filters "Name=vpc-id,Values=$c_vpc" Name=interface-type,Values=vpc_endpoint \
	"Name=availability-zone,Values=${region}a" --query 'NetworkInterfaces[0].PrivateIpAddress')
expect_match "its network interface has an address: $ep_addr" '^10\.0\.0\.' "$ep_addr"
expect_failure "no packet passes yet" blocked fetch "http://$ep_addr/"
dropped_for endpoint-inactive
expect_failure "the name $domain does not exist yet" blocked fetch "http://$domain/"

# The first byte is awaited in the instance while the provider accepts; the
# time runs from the moment the client sends the call.
# shellcheck disable=SC2016
"${cli[@]}" exec "$c_instance" -- timeout 30 bash -c '
	until out=$(curl -fsS --connect-timeout 0.5 --max-time 2 "$1" 2>/dev/null); do :; done
	echo "${EPOCHREALTIME//[.,]/}" "$out"' - "http://$domain/" >"$tmp/first" &
first=$!
started+=("$first")
provider --debug ec2 accept-vpc-endpoint-connections --service-id "$service_id" --vpc-endpoint-ids "$ep" \
	>"$tmp/accept.out" 2>"$tmp/accept.debug" || fail "accept" "success" "$(tail -n 2 "$tmp/accept.debug")"
wait $first || fail "the first byte by $domain" "an answer within 30 s" "none"
sent=$(sed -nE 's/^([0-9-]+ [0-9:]+),([0-9]+) .*Sending http request.*/\1.\2/p' "$tmp/accept.debug" | head -n 1)
[[ -n $sent ]] || fail "the time of the call" "'Sending http request' in the client's debug output" "no such line"
read -r first_at answer <"$tmp/first"
pass "accepted; from the call to the first byte: $((first_at / 1000 - $(date -d "$sent" +%s%3N))) ms"
expect_match "curl http://$domain/ is answered by the provider" '^hello from [ab]$' "$answer"

side state consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids "$ep" --query 'VpcEndpoints[0].State'
side nodes provider ec2 describe-network-interfaces --filters "Name=vpc-id,Values=$p_vpc" \
	Name=interface-type,Values=network_load_balancer --query 'NetworkInterfaces[].PrivateIpAddress'
joined
expect "the endpoint is available" available "$state"
before=$(cat "$tmp"/httpd.[ab] | grep -c '^request' || true)
expect_success "another request passes" fetch "http://$domain/"
[[ $(cat "$tmp"/httpd.[ab] | grep -c '^request') -gt $before ]] || fail "the provider's log" "one more request" "no more"
seen=$(grep -h '^request' "$tmp/httpd.${got##* }" | tail -n 1 | cut -d' ' -f2)
grep -qwF -- "$seen" <<<"$nodes" || fail "the source the provider saw" "a load balancer node: $nodes" "$seen"
pass "the provider saw the load balancer's node $seen, not $consumer_addr"

step "The endpoint's security group decides about new connections"

endpoint_close >"$tmp/close"
expect_failure "closed: a new connection fails" blocked fetch "http://$domain/"
dropped_for group-ingress
endpoint_open >"$tmp/open"
expect_success "opened: a new connection passes" fetch "http://$domain/"

step "Rejecting the connection cuts a running transfer"

"${cli[@]}" exec "$c_instance" -- curl -sSN --max-time 10 "http://$domain/stream" >"$tmp/stream" 2>"$tmp/stream.err" &
transfer=$!
started+=("$transfer")
until_true 10 "a transfer runs" test -s "$tmp/stream"
provider ec2 reject-vpc-endpoint-connections --service-id "$service_id" --vpc-endpoint-ids "$ep" >"$tmp/reject"
rejected=$(millis)
code=0
wait $transfer || code=$?
[[ $code -ne 0 && $code -ne 28 ]] || fail "the running transfer" "an error soon after the rejection" "curl's exit code $code"
pass "it is cut: $(head -n 1 "$tmp/stream.err") ($(($(millis) - rejected)) ms after the answer)"
expect_failure "a new connection fails" blocked fetch "http://$ep_addr/"
expect "the endpoint says so" rejected \
	"$(consumer ec2 describe-vpc-endpoints --vpc-endpoint-ids "$ep" --query 'VpcEndpoints[0].State')"

step "S3 through a gateway endpoint"

open=postern-demo-open closed=postern-demo-closed
head -c 20000000 /dev/urandom >"$tmp/up"
expect_failure "aws s3 ls fails without a route" blocked s3 ls
dropped_for no-route
read -r gateway state <<<"$(consumer ec2 create-vpc-endpoint --vpc-endpoint-type Gateway --vpc-id "$c_vpc" \
	--service-name com.amazonaws.$region.s3 --route-table-ids "$c_table" --query 'VpcEndpoint.[VpcEndpointId,State]')"
expect_match "$gateway" '^vpce-' "$gateway"
prefix_list=$(consumer ec2 describe-route-tables --route-table-ids "$c_table" \
	--query "RouteTables[0].Routes[?GatewayId=='$gateway'].DestinationPrefixListId")
expect_match "the route table sends $prefix_list to it" '^pl-' "$prefix_list"
side - s3 mb s3://$open
side - s3 mb s3://$closed
joined
pass "two buckets"
expect_success "20 MB up" s3 cp --quiet "$tmp/up" s3://$open/file
expect_success "20 MB down" s3 cp --quiet s3://$open/file "$tmp/down"
expect "the checksums are equal" "$(sha256sum <"$tmp/up")" "$(sha256sum <"$tmp/down")"
expect_match "the edge's record names the workload's private address" "\"client\":\"$consumer_addr:" "$(postern requests --json)"

policy='{"Version":"2012-10-17","Statement":[{"Sid":"OneBucket","Effect":"Allow","Principal":"*","Action":"s3:*",
	"Resource":["arn:aws:s3:::'$open'","arn:aws:s3:::'$open'/*"]}]}'
consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$gateway" --policy-document "$policy" >"$tmp/modify"
expect_success "a policy for one bucket: that one is listed" s3 ls s3://$open
expect_match "  with the file in it" '20000000 file' "$got"
expect_failure "the other one is not" s3 ls s3://$closed
expect_match "  with S3's own error" AccessDenied "$got"
consumer ec2 modify-vpc-endpoint --vpc-endpoint-id "$gateway" --reset-policy >"$tmp/modify"
side - s3 rb --force s3://$open
side - s3 rb s3://$closed
joined
side - consumer ec2 delete-vpc-endpoints --vpc-endpoint-ids "$gateway" "$ep"
joined
pass "buckets and endpoints are deleted"
expect_failure "aws s3 ls fails again" blocked s3 ls
dropped_for no-route

step "Everything is deleted through the API, and nothing is left"

provider ec2 delete-vpc-endpoint-service-configurations --service-ids "$service_id" --query 'Unsuccessful[].Error.Message' >"$tmp/deleted"
expect "the endpoint service is deleted" "" "$(cat "$tmp/deleted")"
side - provider elbv2 delete-load-balancer --load-balancer-arn "$lb"
side - consumer ec2 terminate-instances --instance-ids "$c_instance"
side - provider ec2 terminate-instances --instance-ids "$p_instance_a" "$p_instance_b"
joined
provider elbv2 delete-target-group --target-group-arn "$group"
no_interfaces() {
	local c p
	c=$(consumer ec2 describe-network-interfaces --query 'NetworkInterfaces[].NetworkInterfaceId') || return
	p=$(provider ec2 describe-network-interfaces --query 'NetworkInterfaces[].NetworkInterfaceId') || return
	[[ -n $c$p ]] || return 0
	echo "left: $c $p"
	return 1
}
until_true 20 "load balancer, targets and instances are gone, with their network interfaces" no_interfaces
side - consumer ec2 delete-security-group --group-id "$c_group"
side - provider ec2 delete-security-group --group-id "$p_group"
for s in "$c_subnet_a" "$c_subnet_b"; do side - consumer ec2 delete-subnet --subnet-id "$s"; done
for s in "$p_subnet_a" "$p_subnet_b"; do side - provider ec2 delete-subnet --subnet-id "$s"; done
joined
side - consumer ec2 delete-vpc --vpc-id "$c_vpc"
side - provider ec2 delete-vpc --vpc-id "$p_vpc"
side - stranger ec2 delete-vpc --vpc-id "$s_vpc"
joined
pass "groups, subnets and VPCs are deleted"

for p in "${started[@]}"; do
	kill "$p" 2>/dev/null || true
	wait "$p" 2>/dev/null || true
done
started=()
mapfile -t processes < <(descendants "$server")
kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
expect "postern serve stops cleanly" 0 "$code"
until_true 5 "none of its ${#processes[@]} processes is left" all_ended "${processes[@]}"
expect_success "postern reset removes what stays for the next start" postern reset --data --yes
tag=$(sed -nE 's|^removed rundir /run/postern/||p' <<<"$got")
until_true 10 "no device, namespace, mount or pin is left" nothing_new "$tmp/before" "$tag"

printf '\nall of it holds, in %d.%d s\n' $((($(millis) - demo_started) / 1000)) $((($(millis) - demo_started) / 100 % 10))
