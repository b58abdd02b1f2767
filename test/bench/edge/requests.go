// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	region     = "us-east-1"
	s3Host     = "s3.us-east-1.amazonaws.com"
	bucket     = "bench"
	account    = "111122223333"
	accessKey  = "AKIAPOSTERNBENCH0001"
	secretKey  = "a secret that only this run knows"
	smallSize  = 4 << 10
	smallKey   = "small"
	largeKey   = "large"
	unsigned   = "UNSIGNED-PAYLOAD"
	requestEnd = "\r\n\r\n"
)

// render writes the head of a signed request as an SDK sends it. size is of the
// body, -1 for a request without one; hash is what is signed of it.
func render(method, path string, size int64, hash string, now time.Time) ([]byte, error) {
	r, err := http.NewRequest(method, "http://"+s3Host+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	if size >= 0 {
		r.ContentLength = size
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(context.Background(), creds, r, hash, "s3", region, now); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, s3Host)
	fmt.Fprintf(&b, "User-Agent: aws-sdk-go-v2/1.41.0 ua/2.1 os/linux lang/go#1.26 md/GOOS#linux md/GOARCH#amd64 api/s3#1.90.0\r\n")
	if size >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", size)
	}
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("Amz-Sdk-Invocation-Id", "11111111-2222-3333-4444-555555555555")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	if err := r.Header.Write(&b); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}

func hashOf(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}

// operation is what a client does.
type operation struct {
	name  string
	large bool
	up    bool
}

var operations = []operation{{name: "get"}, {name: "put", up: true}, {name: "download", large: true}, {name: "upload", large: true, up: true}}

func operationOf(name string) (operation, error) {
	for _, o := range operations {
		if o.name == name {
			return o, nil
		}
	}
	return operation{}, fmt.Errorf("unknown operation %q", name)
}

// head is the request of one connection, and the small body that goes with it.
func (o operation) head(conn int, size int64) (head, body []byte, err error) {
	now := time.Now()
	switch {
	case o.up && o.large:
		head, err = render("PUT", fmt.Sprintf("/%s/up-%d", bucket, conn), size, unsigned, now)
	case o.up:
		body = bytes.Repeat([]byte("x"), smallSize)
		head, err = render("PUT", fmt.Sprintf("/%s/put-%d", bucket, conn), smallSize, hashOf(body), now)
	case o.large:
		head, err = render("GET", fmt.Sprintf("/%s/%s", bucket, largeKey), -1, hashOf(nil), now)
	default:
		head, err = render("GET", fmt.Sprintf("/%s/%s", bucket, smallKey), -1, hashOf(nil), now)
	}
	return head, body, err
}
