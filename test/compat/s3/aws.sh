#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What people do with the aws command line: "aws s3" and "aws s3api".
set -uo pipefail
. "$(dirname "$0")/steps.sh"

aws() { "$AWS" --endpoint-url "http://$S3" "$@"; }
api() { aws s3api --output text "$@"; }
refused() {
	local code=$1 out
	shift
	out=$("$@" 2>&1) && return 1
	[[ $out == *"$code"* ]] || { echo "$out"; return 1; }
}

file 1000 small
file 20000000 large
mkdir -p tree/b
file 10 tree/a
file 20 "tree/b/c d"
file 30 "tree/b/ü+%é"

fetch() { aws s3 cp "s3://one/$1" got && cmp "$2" got; }
syncs() {
	aws s3 sync tree s3://one/tree
	aws s3 sync s3://one/tree back
	diff -r tree back
}
range() {
	api get-object --bucket one --key large --range bytes=1000-1999 got
	cmp got <(tail -c +1001 large | head -c 1000)
}
presigned() { curl -sSf -o got "$(aws s3 presign s3://one/small)" && cmp got small; }
parts() {
	local id etag
	id=$(api create-multipart-upload --bucket one --key parts --query UploadId)
	api list-multipart-uploads --bucket one --query 'Uploads[].Key' | grep -q parts
	etag=$(api upload-part --bucket one --key parts --upload-id "$id" --part-number 1 --body large --query ETag)
	api list-parts --bucket one --key parts --upload-id "$id" --query 'Parts[].PartNumber' | grep -q 1
	api complete-multipart-upload --bucket one --key parts --upload-id "$id" --multipart-upload "{\"Parts\":[{\"PartNumber\":1,\"ETag\":${etag}}]}"
	fetch parts large
}
abort() {
	local id
	id=$(api create-multipart-upload --bucket one --key aborted --query UploadId)
	api abort-multipart-upload --bucket one --key aborted --upload-id "$id"
	refused NoSuchUpload api list-parts --bucket one --key aborted --upload-id "$id"
}
policy() {
	api put-bucket-policy --bucket one --policy '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::one/public/*"}]}'
	says public/ api get-bucket-policy --bucket one --query Policy
	aws s3 cp small s3://one/public/x
	curl -sSf -o got "http://$S3/one/public/x" && cmp got small
	[ "$(curl -sS -o /dev/null -w '%{http_code}' "http://$S3/one/small")" = 403 ]
	api delete-bucket-policy --bucket one
}

step mb aws s3 mb s3://one
step mb-location api create-bucket --bucket two
step ls-buckets says one aws s3 ls
step head-bucket api head-bucket --bucket one
step head-no-bucket refused 404 api head-bucket --bucket no-such-bucket
step location api get-bucket-location --bucket one
step cp-up aws s3 cp small s3://one/small
step cp-large aws s3 cp large s3://one/large
step cp-stdin bash -c '"$0" --endpoint-url "http://$S3" s3 cp - s3://one/stdin <small' "$AWS"
step cp-down fetch small small
step cp-down-large fetch large large
step cp-across aws s3 cp s3://one/large s3://two/large
step cp-acl aws s3 cp --metadata a=b --content-type text/plain small "s3://one/odd name/ü+%&=é"
step head-object says text/plain api head-object --bucket one --key "odd name/ü+%&=é"
step cp-odd-name fetch "odd name/ü+%&=é" small
step mv aws s3 mv s3://one/stdin s3://one/moved
step mv-gone refused 404 aws s3 cp s3://one/stdin none
step sync syncs
step ls-recursive says "c d" aws s3 ls --recursive s3://one
step ls-summary says "Total Objects" aws s3 ls --summarize s3://one/tree/
step range range
step presign presigned
step multipart parts
step multipart-abort abort
step list-v2 says small api list-objects-v2 --bucket one --prefix s
step list-v1 says large api list-objects --bucket one --prefix l --delimiter /
step attributes says 1000 api get-object-attributes --bucket one --key small --object-attributes ETag ObjectSize
step tagging-put api put-object-tagging --bucket one --key small --tagging 'TagSet=[{Key=a,Value=b}]'
step tagging-get says b api get-object-tagging --bucket one --key small
step tagging-delete api delete-object-tagging --bucket one --key small
step bucket-tagging api put-bucket-tagging --bucket one --tagging 'TagSet=[{Key=a,Value=b}]'
step ownership api put-bucket-ownership-controls --bucket one --ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerPreferred}]'
step acl-put api put-bucket-acl --bucket one --acl private
step acl-get says FULL_CONTROL api get-bucket-acl --bucket one
step cors api put-bucket-cors --bucket one --cors-configuration '{"CORSRules":[{"AllowedMethods":["GET"],"AllowedOrigins":["*"]}]}'
step policy policy
step no-key refused NoSuchKey api get-object --bucket one --key none none
step not-modified refused 304 api get-object --bucket one --key small --if-none-match "$(api head-object --bucket one --key small --query ETag)" none
step delete-objects says small api delete-objects --bucket one --delete 'Objects=[{Key=small},{Key=none}]'
step rm aws s3 rm s3://one/large
step rb-full refused BucketNotEmpty aws s3 rb s3://one
step rm-recursive aws s3 rm --recursive s3://one
step rb aws s3 rb s3://one
step rb-force aws s3 rb --force s3://two
exit 0
