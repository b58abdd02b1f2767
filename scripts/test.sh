#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the Go tests of both modules and sums them up: test.sh [PACKAGES]
#
#   RACE=1      with the race detector (needs gcc)
#   NO_SKIPS=1  a skipped test is a failure
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
mkdir -p bin/tools
"$go" build -o bin/tools/testreport ./internal/repocheck/testreport

# No cached results: what these tests find out depends on more than the files
# that the go command knows of.
flags=(-json -count=1 -timeout "$([[ -n ${POSTERN_LONG_TESTS:-} ]] && echo 90m || echo 20m)")
if [[ -n ${RACE:-} ]]; then
	flags+=(-race)
	export CGO_ENABLED=1
fi

# The end-to-end tests run what make built.
export POSTERN_BIN=$PWD/bin/postern
[[ -x $POSTERN_BIN ]] || unset POSTERN_BIN

# Terraform's AWS provider comes from no package manager, so where it is not at
# hand its tests are left out and not counted as skipped.
if [[ -z $(compgen -G "${POSTERN_TERRAFORM_MIRROR:-/usr/share/terraform/plugins}/registry.terraform.io/hashicorp/aws" ||
	compgen -G "$HOME/.terraform.d/plugins/registry.terraform.io/hashicorp/aws" ||
	compgen -G "/usr/local/share/terraform/plugins/registry.terraform.io/hashicorp/aws" ||
	compgen -G "/opt/*/registry.terraform.io/hashicorp/aws") ]] || ! command -v terraform >/dev/null; then
	echo "no terraform with its AWS provider: its tests are left out"
	flags+=(-skip '^TestTheTerraformExample|^TestTerraformMakes')
fi

# The packages of the S3 backend are tested with the whole, not when somebody
# asks for certain packages.
run() {
	"$go" test "${flags[@]}" "${@:-./...}"
	if [[ $# -eq 0 || $* == ./... ]]; then
		(cd backends/s3 && "$go" test "${flags[@]}" ./...)
	fi
}

[[ $EUID -eq 0 ]] || echo "not root: tests that need the kernel's controls will skip"
run "$@" | bin/tools/testreport ${NO_SKIPS:+--no-skips}
