// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"postern.dev/postern/internal/edge/call"
)

// keys are condition keys that are a header's (or presigned parameter's) value.
var keys = []string{
	"x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source", "x-amz-grant-full-control", "x-amz-grant-read",
	"x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-metadata-directive",
	"x-amz-object-ownership", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
	"x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class", "x-amz-website-redirect-location",
}

// fillContext collects the condition keys that the request itself gives.
func (c *s3call) fillContext() *call.Error {
	h, q := c.request.Header, c.query
	c.fromHeaders(q.Amz)
	// An empty prefix in a listing is a value: policies name it to allow the
	// listing of a bucket's top.
	for _, k := range []string{"prefix", "delimiter", "max-keys"} {
		if v, ok := q.Plain[k]; ok && c.Bucket != "" && c.Key == "" {
			c.Context["s3:"+k] = []string{v}
		}
	}
	c.Set("s3:if-match", h.Get("If-Match"))
	c.Set("s3:if-none-match", h.Get("If-None-Match"))
	if c.Unknown == "" {
		c.creation()
	}
	tags, err := url.ParseQuery(q.Amz("x-amz-tagging"))
	if err != nil {
		return errTags
	}
	for k, v := range tags {
		if len(v) != 1 || !call.Text(k) || !call.Text(v[0]) {
			return errTags
		}
		c.addTag(k, v[0])
	}
	return nil
}

// fromHeaders sets what is an x-amz- header's value, or a form field's, and what
// the signature says.
func (c *s3call) fromHeaders(value func(name string) string) {
	for _, k := range keys {
		c.Set("s3:"+k, value(k))
	}
	c.Set("s3:object-lock-mode", value("x-amz-object-lock-mode"))
	c.Set("s3:object-lock-legal-hold", value("x-amz-object-lock-legal-hold"))
	c.setRetention(value("x-amz-object-lock-retain-until-date"))
	c.Set("s3:authType", c.Claim.Auth)
	c.Set("s3:signatureversion", c.Claim.Version)
	c.Set("s3:signatureAge", c.Claim.Age(c.request.Now))
	c.Set("aws:UserAgent", c.request.Header.Get("User-Agent"))
	c.Set("aws:Referer", c.request.Header.Get("Referer"))
}

// creation says whether the request makes an object: all writes do but those of
// the parts of one.
func (c *s3call) creation() {
	if c.operation.action != "s3:PutObject" {
		return
	}
	_, upload := c.query.Plain["uploadId"]
	_, uploads := c.query.Plain["uploads"]
	creates := !uploads && (!upload || c.request.Method == http.MethodPost)
	c.Set("s3:ObjectCreationOperation", strconv.FormatBool(creates))
}

// setRetention sets until when an object is to be kept, and how many days that is.
func (c *s3call) setRetention(until string) {
	c.Set("s3:object-lock-retain-until-date", until)
	if at, err := time.Parse(time.RFC3339, until); err == nil {
		days := int64(at.Sub(c.request.Now).Hours() / 24)
		c.Set("s3:object-lock-remaining-retention-days", strconv.FormatInt(days, 10))
	}
}

// addTag adds a tag that the request gives an object.
func (c *s3call) addTag(key, value string) {
	c.Context["s3:RequestObjectTag/"+key] = []string{value}
	c.Context["s3:RequestObjectTagKeys"] = append(c.Context["s3:RequestObjectTagKeys"], key)
}
