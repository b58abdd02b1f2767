# SPDX-License-Identifier: Apache-2.0
# What the scripts of this directory share; they source it. $AWS is the aws
# command line, of version 1 or 2; $AWS_ENDPOINT_URL is where the API is, also
# for versions that do not read that variable themselves. The profiles consumer
# and provider are the two accounts.
set -euo pipefail

aws=${AWS:-aws}
consumer() { "$aws" --profile consumer --endpoint-url "$AWS_ENDPOINT_URL" --output text "$@"; }
provider() { "$aws" --profile provider --endpoint-url "$AWS_ENDPOINT_URL" --output text "$@"; }

# ok NAME says that a check held. is WANT GOT ends the script where it did not.
ok() { echo "ok $1"; }
is() { [[ $1 == "$2" ]] || { echo "line ${BASH_LINENO[0]}: want '$1', got '$2'" >&2; exit 1; }; }

# refused CODE COMMAND... wants the command to fail with AWS's code.
refused() {
	local code=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "line ${BASH_LINENO[0]}: want $code, got success: $out" >&2
		exit 1
	fi
	[[ $out == *"($code)"* ]] || { echo "line ${BASH_LINENO[0]}: want $code, got $out" >&2; exit 1; }
}
