// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// asking is a program that answers questions, and a way to ask it.
func asking(t *testing.T, args ...string) (*gateway, *http.Client) {
	dir := t.TempDir()
	path := filepath.Join(dir, "questions.sock")
	g := start(t, dir, []accessKey{keyA1, keyB}, append(args, "--questions", "unix:"+path)...)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return g, &http.Client{Transport: tr, Timeout: time.Minute}
}

// post sends a body and returns the status and what came.
func post(t *testing.T, c *http.Client, method, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://backend/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// know asks about objects.
func know(t *testing.T, c *http.Client, about ...object) []knowledge {
	t.Helper()
	q, err := json.Marshal(map[string]any{"objects": about})
	if err != nil {
		t.Fatal(err)
	}
	status, text := post(t, c, http.MethodPost, string(q))
	var out struct{ Objects []knowledge }
	if err := json.Unmarshal([]byte(text), &out); status != http.StatusOK || err != nil || len(out.Objects) != len(about) {
		t.Fatalf("%v: %d %s", about, status, text)
	}
	return out.Objects
}

func putTagged(t *testing.T, c *s3.Client, bucket, key, tag string) (version string) {
	t.Helper()
	out, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(nil), Tagging: aws.String("t=" + tag)})
	wantOK(t, "put "+key, err)
	return aws.ToString(out.VersionId)
}

// Whatever the gateway would give somebody, its tags are known; and of what it would
// not give, none are.
func TestTagsAndOwnersAreKnown(t *testing.T) {
	for _, kind := range []string{"xattr", "sidecar"} {
		t.Run(kind, func(t *testing.T) {
			g, c := asking(t, "--metadata", kind)
			a, b := g.as(keyA1), g.as(keyB)
			makeBucket(t, a, "bucket-a")
			makeBucket(t, b, "bucket-b")
			putTagged(t, b, "bucket-b", "k", "of b")
			putTagged(t, a, "bucket-a", "old", "before versions")
			putTagged(t, a, "bucket-a", "dir/in/it", "below")
			putTagged(t, a, "bucket-a", "folder/", "a folder")
			wantOK(t, "untagged", put(t, a, "bucket-a", "none", []byte("v")))
			putTagged(t, a, "bucket-a", "twice", "null")
			_, err := a.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("bucket-a"),
				VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
			wantOK(t, "versioning", err)
			putTagged(t, a, "bucket-a", "twice", "second")
			first := putTagged(t, a, "bucket-a", "k", "first")
			second := putTagged(t, a, "bucket-a", "k", "second")
			putTagged(t, a, "bucket-a", "gone", "gone")
			gone, err := a.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("bucket-a"), Key: aws.String("gone")})
			wantOK(t, "delete", err)

			for _, tc := range []struct {
				object
				tag string // of t; "" for no tags
			}{
				{object{"bucket-a", "k", ""}, "second"},
				{object{"bucket-a", "k", first}, "first"},
				{object{"bucket-a", "k", second}, "second"},
				{object{"bucket-a", "k", "null"}, ""},
				{object{"bucket-a", "old", ""}, "before versions"},
				{object{"bucket-a", "old", "null"}, "before versions"},
				{object{"bucket-a", "twice", ""}, "second"},
				{object{"bucket-a", "twice", "null"}, "null"},
				{object{"bucket-a", "dir/in/it", ""}, "below"},
				{object{"bucket-a", "dir//in/./it", ""}, "below"},
				{object{"bucket-a", "folder/", ""}, "a folder"},
				{object{"bucket-a", "none", ""}, ""},
				{object{"bucket-a", "missing", ""}, ""},
				{object{"bucket-a", "missing", "null"}, ""},
				{object{"bucket-a", "gone", ""}, ""},
				{object{"bucket-a", "gone", aws.ToString(gone.VersionId)}, ""},
				{object{"bucket-a", "k", "no-version"}, ""},
				{object{"bucket-a", "k", "../../bucket-b/k"}, ""},
				{object{"bucket-a", "../bucket-b/k", ""}, ""},
				{object{"bucket-a", strings.Repeat("k", 300), ""}, ""},
			} {
				k := know(t, c, tc.object)[0]
				want := map[string]string{}
				if tc.tag != "" {
					want["t"] = tc.tag
				}
				if k.Owner != accountA || !maps.Equal(k.Tags, want) {
					t.Errorf("%v: %+v, want %v", tc.object, k, want)
				}
				// What is read has these tags, as many as it says.
				if strings.Contains(tc.Key, "..") {
					continue
				}
				in := &s3.GetObjectInput{Bucket: &tc.Bucket, Key: &tc.Key}
				if tc.Version != "" {
					in.VersionId = &tc.Version
				}
				out, err := a.GetObject(t.Context(), in)
				if err == nil {
					out.Body.Close()
				}
				if given := err == nil; given != (tc.tag != "" || tc.Key == "none") {
					t.Errorf("%v: given %v: %v", tc.object, given, err)
				} else if err == nil && int(aws.ToInt32(out.TagCount)) != len(want) {
					t.Errorf("%v: read with %d tags, want %d", tc.object, aws.ToInt32(out.TagCount), len(want))
				}
			}
			// Several at a time, in their order.
			got := know(t, c, object{Bucket: "bucket-b"}, object{Bucket: "bucket-c"}, object{Bucket: "../data"}, object{"bucket-b", "k", ""}, object{"bucket-c", "k", ""})
			for i, want := range []knowledge{{Owner: accountB}, {}, {}, {accountB, map[string]string{"t": "of b"}}, {}} {
				if got[i].Owner != want.Owner || !maps.Equal(got[i].Tags, want.Tags) {
					t.Errorf("%d: %+v, want %+v", i, got[i], want)
				}
			}
		})
	}
}

func TestQuestionsAreBoundedAndOnTheirOwnSocket(t *testing.T) {
	g, c := asking(t, "--group-socket")
	makeBucket(t, g.as(keyA1), "bucket-a")
	putTagged(t, g.as(keyA1), "bucket-a", "k", "secret")
	question := `{"objects":[{"bucket":"bucket-a","key":"k"}]}`
	if status, text := post(t, c, http.MethodPost, question); status != http.StatusOK || !strings.Contains(text, "secret") {
		t.Errorf("%d %s", status, text)
	}
	many := strings.TrimSuffix(strings.Repeat(`{"bucket":"bucket-a"},`, maxObjects+1), ",")
	for name, tc := range map[string]struct{ method, body string }{
		"no JSON":           {http.MethodPost, "objects"},
		"too many":          {http.MethodPost, `{"objects":[` + many + `]}`},
		"too long":          {http.MethodPost, `{"objects":[{"bucket":"` + strings.Repeat("b", maxQuestion) + `"}]}`},
		"no way to ask":     {http.MethodGet, question},
		"nothing of a kind": {http.MethodPost, `{"objects":{}}`},
	} {
		if status, text := post(t, c, tc.method, tc.body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	// Clients' socket answers S3 alone.
	if status, text := post(t, g.httpClient(), http.MethodPost, question); status == http.StatusOK || strings.Contains(text, "secret") || strings.Contains(text, accountA) {
		t.Errorf("a client asks: %d %s", status, text)
	}
	for _, name := range []string{"questions.sock", "s3.sock"} {
		st, err := os.Stat(filepath.Join(g.dir, name))
		if err != nil || st.Mode().Perm() != 0o660 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
	// A socket that was left behind is no obstacle, and none is left behind.
	g.stdin.Close()
	g.wantExit()
	if _, err := os.Stat(filepath.Join(g.dir, "questions.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestQuestionsWhichTheStorageDoesNotAnswer(t *testing.T) {
	q := &questions{owner: func(string) (string, error) { return "", io.ErrUnexpectedEOF }}
	w := httptest.NewRecorder()
	q.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"objects":[{"bucket":"bucket-a"}]}`)))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "owner") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
