// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// programLimit is how long another program may take to say its version.
const programLimit = 5 * time.Second

func (h Host) s3Backend(program string) Check {
	const name = "S3 backend"
	path, err := h.LookPath(program)
	if err != nil {
		return Check{name, Warn, err.Error(), "install it beside postern, or give the address of an S3 server of your own; without one there is no S3 endpoint"}
	}
	return Check{name, OK, path, ""}
}

var awsVersion = regexp.MustCompile(`aws-cli/(\d{1,5}\.\d{1,5}[.\w]*)`)

// awsCLI: AWS_ENDPOINT_URL is how a user points aws-cli at Postern once for
// all services; it came with 2.13.0 and 1.29.0.
func (h Host) awsCLI(ctx context.Context) Check {
	const name = "aws-cli"
	const do = "install aws-cli 2.13 or later (or 1.29 or later), or use any other client of the API"
	path, err := h.LookPath("aws")
	if err != nil {
		return Check{name, Warn, "not in PATH", do}
	}
	ctx, cancel := context.WithTimeout(ctx, programLimit)
	defer cancel()
	// Whatever the user's settings are, saying a version needs none, and no
	// request may leave the host.
	env := []string{
		"PATH=" + h.Getenv("PATH"), "HOME=" + h.Getenv("HOME"), "LC_ALL=C",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ENDPOINT_URL=http://127.0.0.1:9", "AWS_PAGER=",
	}
	out, err := h.Run(ctx, env, path, "--version")
	if ctx.Err() != nil {
		return Check{name, Warn, path + " did not say its version in time", do}
	}
	m := awsVersion.FindStringSubmatch(string(out))
	if m == nil {
		found := path + " does not say its version"
		if err != nil {
			found = fmt.Sprintf("%s: %v", path, err)
		}
		return Check{name, Warn, found, do}
	}
	major, minor, _ := version(m[1])
	switch {
	case major > 2, major == 2 && minor >= 13, major == 1 && minor >= 29:
		return Check{name, OK, fmt.Sprintf("%s (%s), follows AWS_ENDPOINT_URL", m[1], path), ""}
	}
	return Check{name, Warn, fmt.Sprintf("%s (%s) does not follow AWS_ENDPOINT_URL", m[1], path),
		"give --endpoint-url with every call, or " + do}
}

func (h Host) clang(ctx context.Context) Check {
	const name = "clang"
	const do = "install clang to change the eBPF programs; to run or build Postern it is not needed"
	path, err := h.LookPath("clang")
	if err != nil {
		return Check{name, Warn, "not in PATH", do}
	}
	ctx, cancel := context.WithTimeout(ctx, programLimit)
	defer cancel()
	out, err := h.Run(ctx, []string{"PATH=" + h.Getenv("PATH"), "LC_ALL=C"}, path, "--version")
	first, _, _ := strings.Cut(string(out), "\n")
	if err != nil || first == "" {
		return Check{name, Warn, fmt.Sprintf("%s does not say its version: %v", path, err), do}
	}
	return Check{name, OK, first, ""}
}
