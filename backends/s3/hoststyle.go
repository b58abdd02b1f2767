// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// originalPath is where the gateway looks for the path that was signed, once routing has changed the request's path.
// Like the path the gateway signs everywhere else, it is the unescaped one.
const originalPath = utils.ContextKey("original-uri-path")

// domains are the host names under which buckets are subdomains, each as labels from the right. A label "*" stands
// for any one label. The gateway itself knows one domain only; an AWS region has several.
type domains [][]string

// parseDomains checks and splits the --domain values.
func parseDomains(names []string) (domains, error) {
	var ds domains
	for _, name := range names {
		labels := strings.Split(strings.ToLower(name), ".")
		if len(labels) < 2 || slices.Contains(labels, "") || strings.ContainsAny(name, ":/ ") {
			return nil, fmt.Errorf("--domain %q: write a host name such as s3.us-east-1.amazonaws.com, without port or scheme", name)
		}
		slices.Reverse(labels)
		ds = append(ds, labels)
	}
	return ds, nil
}

// bucket returns the bucket that host, a Host header, names in virtual-hosted style; found is false when host is one
// of the domains itself or under none of them, which both mean path style. The longest domain that fits decides, so
// "bucket.a.example" is a domain of its own although "*.example" is another.
func (ds domains) bucket(host string) (name string, found bool) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	slices.Reverse(labels)
	longest := 0
	for _, d := range ds {
		if len(d) <= longest || len(d) > len(labels) {
			continue
		}
		fits := true
		for i, label := range d {
			fits = fits && (label == "*" || label == labels[i])
		}
		if fits {
			longest = len(d)
		}
	}
	if longest == 0 || longest == len(labels) {
		return "", false
	}
	rest := slices.Clone(labels[longest:])
	slices.Reverse(rest)
	return strings.Join(rest, "."), true
}

// route is the gateway middleware that turns a virtual-hosted-style request into the path-style one the routes know.
// Host stays as it came, and so does the path that the signature is checked against.
func (ds domains) route(ctx fiber.Ctx) error {
	bucket, found := ds.bucket(string(ctx.Request().Header.Host()))
	if !found {
		return ctx.Next()
	}
	if !utils.IsValidBucketName(bucket) {
		err := s3err.GetBucketErr(s3err.ErrInvalidBucketName, bucket)
		requestID, hostID := utils.EnsureRequestIDs(ctx)
		ctx.Response().Header.SetContentType(fiber.MIMEApplicationXML)
		return ctx.Status(err.StatusCode()).Send(err.XMLBody(requestID, hostID))
	}
	path := string(ctx.Request().URI().PathOriginal())
	signed, err := url.PathUnescape(path)
	if err != nil {
		return fmt.Errorf("unescape path: %w", err)
	}
	originalPath.Set(ctx, signed)
	if path == "/" {
		path = "" // routes to bucket operations have no trailing slash
	}
	ctx.Path("/" + bucket + path)
	return ctx.Next()
}
