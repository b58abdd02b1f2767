#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What people do with s3cmd.
set -uo pipefail
. "$(dirname "$0")/steps.sh"

cat >"$HOME/.s3cfg" <<CFG
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
bucket_location = $AWS_DEFAULT_REGION
host_base = $S3
host_bucket = $S3
use_https = False
signature_v2 = False
max_retries = 1
CFG
s3() { "$S3CMD" --config "$HOME/.s3cfg" --no-progress "$@"; }

file 1000 small
file 12000000 large
mkdir -p tree/b
file 10 tree/a
file 20 "tree/b/c d"
file 30 "tree/b/ü+%é"

parts() {
	s3 put --multipart-chunk-size-mb=5 large s3://one/large
	says 12000000 s3 ls s3://one/large
}
fetch() { s3 get --force "s3://one/$1" got && cmp "$2" got; }
continued() {
	head -c 5000000 large >rest
	s3 get --continue s3://one/large rest
	cmp large rest
}
syncs() {
	s3 sync tree/ s3://one/tree/
	s3 sync s3://one/tree/ back/
	diff -r tree back
}
less() {
	rm tree/a
	s3 sync --delete-removed tree/ s3://one/tree/
	fails says "tree/a" s3 ls --recursive s3://one/tree/
}
expired() { says "SignatureDoesNotMatch" s3err --secret_key=wrong ls s3://one; }
s3err() { s3 "$@" 2>&1 || true; }

step mb s3 mb s3://one
step mb-again fails s3 mb s3://-one
step ls-buckets says s3://one s3 ls
step put s3 put small s3://one/small
step put-type s3 put --mime-type=text/plain --add-header=x-amz-meta-note:hello small s3://one/typed
step put-parts parts
step put-stdin sh -c 'cat small | "$0" --config "$1" put - s3://one/stdin' "$S3CMD" "$HOME/.s3cfg"
step put-odd-name s3 put small "s3://one/odd name/ü+%&=é"
step get fetch small small
step get-parts fetch large large
step get-odd-name fetch "odd name/ü+%&=é" small
step get-continue continued
step get-none fails s3 get s3://one/none none
step ls says small s3 ls s3://one
step ls-prefix says DIR s3 ls s3://one/odd
step ls-recursive says "odd name" s3 ls --recursive s3://one
step du says 12 s3 du s3://one
step info says text/plain s3 info s3://one/typed
step info-bucket says us-east-1 s3 info s3://one
step cp s3 cp s3://one/small s3://one/copied
step cp-get fetch copied small
step mv s3 mv s3://one/copied s3://one/moved
step mv-get fetch moved small
step mv-gone fails s3 info s3://one/copied
step modify s3 modify --add-header=Content-Type:text/css s3://one/typed
step modify-info says text/css s3 info s3://one/typed
step sync syncs
step sync-delete less
step setacl-public says AccessControlListNotSupported s3err setacl --acl-public s3://one
step setacl-private s3 setacl --acl-private s3://one
step signurl says Signature= s3 signurl s3://one/small +600
step multipart s3 multipart s3://one
step wrong-secret expired
step del s3 del s3://one/small
step del-gone fails s3 info s3://one/small
step rb-full fails s3 rb s3://one
step del-recursive s3 del --recursive --force s3://one
step rb s3 rb s3://one
step rb-gone fails s3 ls s3://one
exit 0
